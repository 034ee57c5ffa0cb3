"""Networks whose units learn their own nonlinearities: the formula, training, and what moves with a unit."""

import numpy as np
import pytest
import torch

from merging.errors import UnknownArchitecture
from merging.network.permutation import permute
from merging.network.tracing.tracer import trace, verify
from merging.pipeline.merge import merge
from merging.zoo.architectures.adaptive import GAIN, SATURATION, LearnedNonlinearity
from merging.zoo.architectures.names import describe
from merging.zoo.architectures.table import build
from merging.zoo.catalogue import find_entry, why_not_together
from merging.zoo.checkpoints.recognise.fit import structures
from merging.zoo.datasets.load import load_split
from merging.zoo.training.train import train
from tests.zoo.forms import trained_looking

CONFIG = {"widths": [12, 10], "in_shape": [1, 28, 28], "classes": 10}
IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def layer(gain: float, saturation: float) -> LearnedNonlinearity:
    """One layer of two units with this gain and saturation."""
    made = LearnedNonlinearity(2).double()
    with torch.no_grad():
        made.log_gain.fill_(np.log(gain))
        made.saturation_logit.fill_(np.log(saturation) - np.log1p(-saturation))
    return made


@pytest.mark.parametrize("gain", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("saturation", [0.01, 0.4, 0.99])
def test_it_is_the_papers_function(gain: float, saturation: float):
    x = np.linspace(-3, 3, 31)
    expected = (1 - saturation) * np.log1p(np.exp(gain * x)) / gain + saturation / (1 + np.exp(-gain * x))
    found = layer(gain, saturation)(torch.from_numpy(x)[:, None].expand(-1, 2))
    np.testing.assert_allclose(found.detach().numpy()[:, 1], expected, rtol=1e-8)


def test_its_ends_are_a_relu_and_a_step():
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None].expand(-1, 2)
    torch.testing.assert_close(layer(1e3, 1e-9)(x), x.relu(), atol=1e-3, rtol=0)
    away = x.abs() > 0.05
    torch.testing.assert_close(layer(1e3, 1 - 1e-9)(x)[away], (x > 0).double()[away], atol=1e-3, rtol=0)


def test_large_inputs_and_gains_stay_finite_and_so_do_their_gradients():
    made = LearnedNonlinearity(4)
    with torch.no_grad():
        made.log_gain.copy_(torch.tensor([-20.0, 0.0, 5.0, 20.0]))
        made.saturation_logit.copy_(torch.tensor([-50.0, 50.0, 0.0, 1.0]))
    x = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4])[:, None].expand(-1, 4).clone().requires_grad_()
    y = made(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(grad).all() for grad in (x.grad, made.log_gain.grad, made.saturation_logit.grad))


def test_every_unit_begins_alike():
    made = LearnedNonlinearity(5)
    torch.testing.assert_close(made.log_gain.exp(), torch.full((5,), GAIN))
    torch.testing.assert_close(made.saturation_logit.sigmoid(), torch.full((5,), SATURATION))


def test_gain_and_saturation_move_with_the_unit():
    net = build("adaptive", CONFIG)
    spec = trace(net, IMAGES)
    first = {axis.parameter: axis.dim for axis in spec.groups[0].axes}
    assert [group.size for group in spec.groups] == [12, 10]
    assert first == {
        "layers.0.weight": 0,
        "layers.0.bias": 0,
        "layers.1.log_gain": 0,
        "layers.1.saturation_logit": 0,
        "layers.2.weight": 1,
    }
    assert spec.groups[0].linear
    assert verify(net, spec, IMAGES) < 1e-14


def test_two_trained_ones_merge_by_the_mean_of_their_parameters():
    data = load_split("fashion-mnist", "train", 512), load_split("fashion-mnist", "test", 200)
    a, b = (train("adaptive", CONFIG, data, epochs=1, batch=32, lr=0.02, seed=seed) for seed in (0, 1))
    assert a.metrics["accuracy"] > 0.3
    assert float(a.module.get_submodule("layers.1").log_gain.detach().std()) > 0
    result = merge([a.module, b.module], example=IMAGES)
    assert result.notes["equivalence"] < 1e-14
    aligned = result.aligned[1].get_submodule("layers.3").log_gain
    torch.testing.assert_close(
        result.merged.get_submodule("layers.3").log_gain, (a.module.get_submodule("layers.3").log_gain + aligned) / 2
    )


def test_a_permuted_twin_is_recovered_with_its_nonlinearities():
    net = build("adaptive", CONFIG)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    spec = trace(net, IMAGES)
    merged = merge([net, permute(net, spec, spec.random(2))], example=IMAGES).merged
    assert all(torch.equal(merged.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_a_pair_is_shipped():
    pair = [find_entry(f"fashion-adaptive-s{seed}") for seed in (0, 1)]
    assert not why_not_together(*pair)
    assert describe(pair[0].architecture, pair[0].config) == "Adaptive MLP 2×64"


@pytest.mark.parametrize("prefix", ["", "module.", "net."])
def test_a_bare_state_dict_is_found_with_its_units_functions(prefix: str):
    net = trained_looking(build("adaptive", {**CONFIG, "widths": [8] * 7}))  # alphabetical order is not theirs
    state = {f"{prefix}{name}": tensor for name, tensor in sorted(net.state_dict().items())}
    (found,) = structures(state)
    assert (found.architecture, found.config["widths"]) == ("adaptive", [8] * 7)
    again = build("adaptive", found.config)
    again.load_state_dict(found.state)
    assert torch.equal(again(IMAGES), net(IMAGES))


def test_functions_without_their_layers_are_no_adaptive_network():
    state = {name: tensor for name, tensor in build("adaptive", CONFIG).state_dict().items() if "layers.3" not in name}
    with pytest.raises(UnknownArchitecture):
        structures(state)
