"""Laws of permutations: they form a group, and moving tensors follows them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import IncompatibleModels
from merging.network.permutation import Axis, Group, PermutationSpec, compose, invert, permute, permute_tensors
from merging.network.tracing.tracer import trace
from tests.nets.nets import mlp, tied

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.lists(st.integers(2, 6), min_size=1, max_size=4)


def spec_of(sizes: list[int]) -> PermutationSpec:
    """Groups g0, g1, ... side by side on one tensor, each with two elements a unit."""
    starts = [2 * sum(sizes[:number]) for number in range(len(sizes))]
    pairs = enumerate(zip(sizes, starts, strict=True))
    return PermutationSpec(tuple(Group(f"g{n}", size, (Axis("t", 0, 2, start),)) for n, (size, start) in pairs))


@given(SIZES, SEEDS)
def test_inverse_undoes(sizes: list[int], seed: int):
    spec = spec_of(sizes)
    p = spec.random(seed)
    for q in (compose(invert(p), p), compose(p, invert(p))):
        assert all(torch.equal(q[name], order) for name, order in spec.identity().items())
    tensors = {"t": torch.randn(2 * sum(sizes), 3)}
    back = permute_tensors(permute_tensors(tensors, spec, p), spec, invert(p))
    assert torch.equal(back["t"], tensors["t"])


@given(SIZES, SEEDS, SEEDS)
def test_composition_is_one_permutation_after_the_other(sizes: list[int], first: int, second: int):
    spec = spec_of(sizes)
    p, q, tensors = spec.random(first), spec.random(second), {"t": torch.randn(2 * sum(sizes))}
    at_once = permute_tensors(tensors, spec, compose(q, p))
    in_turn = permute_tensors(permute_tensors(tensors, spec, p), spec, q)
    assert torch.equal(at_once["t"], in_turn["t"])


@given(st.integers(2, 5), st.integers(2, 5), SEEDS)
def test_nested_groups_move_blocks_and_what_is_inside(outer: int, inner: int, seed: int):
    inside = tuple(Axis("t", 0, 1, start * inner) for start in range(outer))
    spec = PermutationSpec((Group("outer", outer, (Axis("t", 0, inner),)), Group("inner", inner, inside)))
    p, tensor = spec.random(seed), torch.arange(outer * inner)
    moved = permute_tensors({"t": tensor}, spec, p)["t"]
    assert torch.equal(moved.view(outer, inner), tensor.view(outer, inner)[p["outer"]][:, p["inner"]])


def test_new_unit_i_is_old_unit_p_i():
    spec = PermutationSpec((Group("g", 3, (Axis("t", 1),)),))
    moved = permute_tensors({"t": torch.tensor([[10, 11, 12]])}, spec, {"g": torch.tensor([2, 0, 1])})
    assert moved["t"].tolist() == [[12, 10, 11]]


def test_permute_leaves_the_model_and_keeps_its_ties():
    model, example = tied()
    spec = trace(model, example)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    moved = permute(model, spec, spec.random(1))
    assert moved.one.weight is moved.two.weight
    assert moved.one.weight is not model.one.weight
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("wrong", [torch.tensor([0, 0, 1, 2, 3, 4, 5]), torch.arange(6), torch.arange(7).float() + 0.5])
def test_what_is_no_permutation_is_refused(wrong: torch.Tensor):
    model, example = mlp()
    spec = trace(model, example)
    with pytest.raises(IncompatibleModels, match=r"must hold 0\.\.6 once each"):
        permute(model, spec, spec.identity() | {spec.groups[0].name: wrong})
