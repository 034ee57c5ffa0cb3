from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.similarity.manipulation import classifier_of, rescale_unit, translate
from merging.errors import DataUnavailable, UnsupportedOperation
from merging.network.graph.graph import export
from tests.nets.pairs import SHAPE, blobs, structure, trained

DATA = blobs(300, 1)


@pytest.fixture(scope="module")
def found():
    return classifier_of(structure("mlp")[0], trained("mlp", 0), DATA)


def test_the_classifiers_input_gives_the_networks_answer(found):
    with torch.no_grad():
        logits = torch.cat([trained("mlp", 0)(images) for images, _ in DATA])
    torch.testing.assert_close((found.inputs @ found.weight.T + found.bias).float(), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "image", "unit"])
def test_cka_moves_and_the_answers_do_not(found, kind):
    image = torch.zeros(300, dtype=torch.bool)
    image[0] = True
    trail = {
        "classes": lambda: translate(found, found.labels < 2, 0),
        "image": lambda: translate(found, image, 0),
        "unit": lambda: rescale_unit(found, int(found.inputs.var(0).argmax())),
    }[kind]()
    assert trail.cka[0] == pytest.approx(1)
    assert trail.cka[-1] < 0.9
    assert np.ptp(trail.accuracy) == 0
    assert trail.moved.max() < 1e-9
    assert trail.cka[-1] == pytest.approx(trail.limit, abs=0.05)


def test_neighbours_survive_what_fools_cka(found):
    trail = translate(found, found.labels < 2, 0)
    assert trail.cka[-1] < 0.8
    assert trail.neighbours[-1] > 0.9


def test_a_classifier_that_sees_everything_is_refused():
    """Four features, five classes."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 5)).eval()
    seen = classifier_of(export(net, torch.rand(2, *SHAPE)), net, DATA)
    with pytest.raises(UnsupportedOperation, match="Every input direction"):
        translate(seen, seen.labels < 2, 0)


def test_a_network_without_a_linear_end_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()).eval()
    with pytest.raises(UnsupportedOperation, match="linear layer"):
        classifier_of(export(net, torch.rand(2, *SHAPE)), net, DATA)


class Decomposed(nn.Module):
    """Ends in addmm, as exported programs after `run_decompositions` do: bias first, weights (features, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(64, 5)), nn.Parameter(torch.randn(5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, images.flatten(1), self.weight)


def test_a_network_that_ends_in_a_product_of_matrices_is_refused():
    net = Decomposed().eval()
    with pytest.raises(UnsupportedOperation, match="ends in a linear layer"):
        classifier_of(export(net, torch.rand(2, *SHAPE)), net, DATA)


@pytest.mark.parametrize("below", [0, 1000])
def test_without_an_image_to_move_or_to_leave_there_is_nothing_to_compare(found, below):
    with pytest.raises(DataUnavailable, match="Choose another number of classes, or other images"):
        translate(found, found.labels < below, 0)


def test_inputs_that_do_not_vary_are_refused(found):
    flat = replace(found, inputs=found.inputs[:1].expand_as(found.inputs))
    with pytest.raises(DataUnavailable, match="are equal for all images"):
        translate(flat, flat.labels < 2, 0)


def test_a_network_that_goes_on_behind_its_last_linear_layer_is_refused():
    """Its answers are not that layer's, so nothing could be promised of them."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU()).eval()
    with pytest.raises(UnsupportedOperation, match="ends in a linear layer"):
        classifier_of(export(net, torch.rand(2, *SHAPE)), net, DATA)
