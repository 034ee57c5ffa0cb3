"""Learned nonlinearities: which modules count, their curves, and what becomes of them in a merge."""

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.causes.nonlinearity import learned_nonlinearities
from merging.errors import InvalidRequest
from tests.studies.subjects import learned, merged
from tests.studies.test_inside import run


def test_curves_are_gamma_of_each_units_own_gain_and_saturation():
    """The formula by hand, in numpy, for the unit in A's order."""
    subject = learned()
    found = run("nonlinearities", subject)
    assert found.layers == ("layers.1", "layers.3")
    x = found.x
    for slot, net in enumerate(("A", "pi(B)", "merge")):
        layer = subject.nets[net].get_submodule("layers.3")
        n = layer.log_gain.detach().double().exp().numpy()[:, None]
        s = layer.saturation_logit.detach().double().sigmoid().numpy()[:, None]
        expected = (1 - s) * np.logaddexp(0, n * x) / n + s / (1 + np.exp(-n * x))
        np.testing.assert_allclose(found.curves["layers.3"][slot], expected, rtol=1e-5, atol=1e-6)


def test_pi_b_has_bs_curves_in_the_order_of_as_units():
    subject = learned()
    found = run("nonlinearities", subject)
    own = subject.nets["B"].get_submodule("layers.1")
    x = torch.from_numpy(found.x)[:, None].expand(-1, 10)
    moved = own(x).T[subject.partner["layers.0"]].detach().numpy()
    np.testing.assert_allclose(found.curves["layers.1"][1], moved, rtol=1e-6)


def test_the_curves_reach_as_far_as_asked():
    found = run("nonlinearities", learned(), reach=2.5)
    assert (found.x[0], found.x[-1]) == (-2.5, 2.5)


@pytest.mark.parametrize(
    "module, counts",
    [
        (nn.PReLU(6, init=0.3), True),
        (nn.PReLU(), False),  # one for all units
        (nn.LayerNorm(6), False),  # mixes the units
        (nn.BatchNorm1d(6), False),
        (nn.BatchNorm1d(6, track_running_stats=False), False),  # mixes the images
        (nn.Linear(6, 6), False),
        (nn.ReLU(), False),
    ],
)
def test_only_a_function_of_each_units_own_counts(module: nn.Module, counts: bool):
    net = nn.Sequential(nn.Linear(4, 6), module, nn.Linear(6, 2))
    assert list(learned_nonlinearities(net)) == (["1"] if counts else [])


def test_networks_without_any_are_refused_in_words():
    with pytest.raises(InvalidRequest, match="no nonlinearities of their own"):
        run("nonlinearities", merged())
