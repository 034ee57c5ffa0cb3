"""A proof by outputs proves something: wrong specs are caught on fresh networks, and constant outputs are no proof."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from merging.errors import NotEquivalent
from merging.network.permutation import PermutationSpec, named_tensors, permute, with_tensors
from merging.network.tracing import tracer
from merging.network.tracing.proof import permuted_difference, proof_inputs, random_numbers
from merging.network.tracing.tracer import trace, verify
from merging.pipeline.merge import merge, output_difference
from tests.nets.attentive_nets import NETWORKS
from tests.nets.nets import Forward, mlp


def fresh(seed: int = 0) -> nn.Module:
    """As it is before training: norms at 1 and 0, a head of zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5), nn.LayerNorm(5)]
        model = nn.Sequential(*layers, nn.Linear(5, 4)).eval()
    nn.init.zeros_(model[6].weight)
    nn.init.zeros_(model[6].bias)
    return model


IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def without(spec: PermutationSpec, parameter: str) -> PermutationSpec:
    """A wrong spec: an axis that was forgotten."""
    groups = (
        type(group)(group.name, group.size, tuple(axis for axis in group.axes if axis.parameter != parameter))
        for group in spec.groups
    )
    return PermutationSpec(tuple(groups))


FORGOTTEN = ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight", "5.weight", "6.weight")


@pytest.mark.parametrize("parameter", FORGOTTEN)
def test_a_wrong_spec_is_caught_on_a_fresh_network_with_a_head_of_zeros(parameter: str) -> None:
    model = fresh()
    assert not model(IMAGES).any()
    spec = trace(model, IMAGES)
    assert verify(model, spec, IMAGES) < 1e-12
    assert verify(model, without(spec, parameter), IMAGES) > 1e-4
    moved, permutation = permute(model, spec, spec.random(1)), spec.random(1)
    assert permuted_difference(model, moved, spec, permutation, IMAGES) < 1e-12
    wrong = with_tensors(model, {**named_tensors(moved), parameter: named_tensors(model)[parameter]})
    if parameter in ("0.bias", "4.weight"):  # the others hold equal numbers, which no order changes
        assert permuted_difference(model, wrong, spec, permutation, IMAGES) > 1e-4


@pytest.mark.parametrize("example", [torch.zeros(1, 1, 6, 6), torch.zeros(4, 1, 6, 6), IMAGES[:1]])
def test_one_image_or_the_same_ones_prove_as_much(example: torch.Tensor) -> None:
    model = fresh()
    spec = trace(model, example)
    assert verify(model, spec, example) < 1e-12
    assert verify(model, without(spec, "1.weight"), example) > 1e-4
    inputs = proof_inputs(model, example)
    assert len(inputs) == max(2, len(example))
    assert not bool((inputs == inputs[:1]).all())
    assert torch.equal(proof_inputs(model, IMAGES), IMAGES)


def test_fresh_networks_merge_and_a_wrong_spec_stops_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [fresh(0), fresh(1)]
    assert merge(pair, example=IMAGES).notes["equivalence"] < 1e-12
    wrong = without(trace(pair[0], IMAGES), "5.weight")
    monkeypatch.setattr(tracer, "trace_graph", lambda graph: wrong)
    with pytest.raises(NotEquivalent, match="a permutation symmetry would change"):
        merge(pair, example=IMAGES)


def test_a_fresh_vision_transformer_is_proven() -> None:
    model, example = NETWORKS["vit"](0)
    nn.init.zeros_(model.heads.head.weight)
    nn.init.zeros_(model.heads.head.bias)
    spec = trace(model, example)
    assert verify(model, spec, example) < 1e-10
    assert verify(model, without(spec, "encoder.layers.encoder_layer_0.mlp.0.bias"), example) > 1e-5


def test_a_network_that_stands_no_other_numbers_is_proven_with_its_own() -> None:
    parts = {"hidden": nn.Linear(36, 5), "head": nn.Linear(5, 3), "power": nn.Parameter(torch.zeros(5))}
    model = Forward(lambda m, x: m.head(m.hidden(x.flatten(1)) * (1 + m.power.sqrt())), **parts)
    spec = trace(model, IMAGES)
    assert verify(model, spec, IMAGES) < 1e-12
    assert verify(model, without(spec, "hidden.bias"), IMAGES) > 1e-4
    empty = fresh()
    empty[1].running_var.zero_()  # as some files hold it
    nn.init.ones_(empty[6].bias)
    nn.init.normal_(empty[6].weight)
    assert verify(empty, trace(empty, IMAGES), IMAGES) < 1e-9


class Blind(nn.Module):
    """Multiplies what it knows by 0."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(36, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(0 * self.hidden(x.flatten(1)))


def test_outputs_that_are_the_same_for_all_inputs_prove_nothing() -> None:
    torch.manual_seed(0)
    blind = Blind().eval()
    spec = trace(blind, IMAGES)
    with pytest.raises(NotEquivalent, match=r"same output for all inputs.*prove nothing"):
        verify(blind, spec, IMAGES)
    with pytest.raises(NotEquivalent, match="prove nothing"):
        merge([blind, Blind()], example=IMAGES)
    with pytest.raises(NotEquivalent, match="prove nothing"):
        output_difference(fresh(), fresh(1), IMAGES)


def test_only_constant_weights_and_statistics_are_drawn_and_stay_positive_where_they_were() -> None:
    model = fresh()
    drawn = random_numbers(model, 3)
    assert set(drawn) == {
        *("1.weight", "1.bias", "1.running_mean", "1.running_var", "5.weight", "5.bias", "6.weight", "6.bias"),
    }
    assert all(bool((drawn[name] > 0).all()) for name in ("1.weight", "1.running_var", "5.weight"))
    assert all(len(numbers.unique()) == numbers.numel() for numbers in drawn.values())
    assert all(torch.equal(drawn[name], numbers) for name, numbers in random_numbers(model, 3).items())
    parts = {"head": mlp()[0], "mask": torch.zeros(4), "scale": nn.Parameter(torch.ones(()))}
    assert random_numbers(Forward(lambda m, x: m.head(x) * m.scale + m.mask, **parts), 0) == {}
