"""Task arithmetic, TIES and DARE: against the papers' formulas worked by hand, and on experts of one base."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from merging.errors import InvalidRequest
from merging.methods.combine.dare import DareSettings, dare, thinned
from merging.methods.combine.task_arithmetic import TaskArithmeticSettings, summed, task_arithmetic
from merging.methods.combine.ties import TiesSettings, agreed, ties, trimmed
from merging.methods.problem import Problem
from merging.network.permutation import named_tensors, with_tensors
from merging.pipeline.merge import merge, prepare
from tests.nets.pairs import accuracy, blobs, make, problem, tensors_of, trained

BASE = trained("mlp", 0, 2)


def vector(*values: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values[:2]), "v": torch.tensor(values[2:])}


def expert(seed: int) -> nn.Module:
    """The base, moved at random."""
    rng = torch.Generator().manual_seed(seed)
    moved = {
        name: t + 0.1 * torch.randn(t.shape, generator=rng) if t.is_floating_point() else t
        for name, t in named_tensors(BASE).items()
    }
    return with_tensors(BASE, moved)


def experts(count: int, **more: object) -> Problem:
    return problem("mlp", tuple(expert(seed) for seed in range(count)), base=BASE, **more)


def test_task_arithmetic_adds_the_vectors_and_at_one_over_n_it_is_the_average() -> None:
    given = experts(3)
    tensors = [named_tensors(model) for model in given.aligned]
    added = task_arithmetic(given, TaskArithmeticSettings(scale=0.7))((1 / 3,) * 3)
    mean = task_arithmetic(given, TaskArithmeticSettings(scale=1 / 3))((1 / 3,) * 3)
    for name, start in named_tensors(BASE).items():
        whole = start + 0.7 * sum(own[name] - start for own in tensors)
        assert torch.allclose(added[name], whole, atol=1e-6)
        assert torch.allclose(mean[name], sum(own[name] for own in tensors) / 3, atol=1e-6)


def test_weights_say_whose_vector_counts() -> None:
    given = experts(2)
    only = task_arithmetic(given, TaskArithmeticSettings(scale=0.5))((0.0, 1.0))
    for name, tensor in named_tensors(given.aligned[1]).items():
        assert torch.allclose(only[name], tensor, atol=1e-6)


def test_trimming_keeps_the_largest_changes_of_all_tensors_together() -> None:
    kept = trimmed(vector(0.1, -5, 3, -0.2), 0.5)
    assert (kept["w"].tolist(), kept["v"].tolist()) == ([0, -5], [3, 0])
    assert trimmed(vector(1, 2, 3, 4), 0.001)["v"].tolist() == [0, 4]


def test_the_sign_of_the_larger_total_wins_and_only_who_agrees_is_averaged() -> None:
    """The paper's Figure 1: disjoint mean over the elected sign; an entry that was trimmed away does not dilute it."""
    merged = agreed([vector(4, 2, 0, 1), vector(-1, 4, 3, -1), vector(-2, 0, 0, 0)], (1 / 3,) * 3)
    assert merged["w"].tolist() == pytest.approx([4, 3])
    assert merged["v"].tolist() == pytest.approx([3, 0])


def test_keeping_all_and_agreeing_everywhere_is_the_mean() -> None:
    first = expert(1)
    given = problem("mlp", (first, copy.deepcopy(first)), base=BASE)
    got = ties(given, TiesSettings(keep=1.0, scale=1.0))((0.5, 0.5))
    assert all(torch.allclose(got[name], tensor, atol=1e-6) for name, tensor in named_tensors(first).items())


def test_dropping_nothing_is_task_arithmetic_and_dropping_keeps_the_mean() -> None:
    given = experts(2)
    plain = task_arithmetic(given, TaskArithmeticSettings(scale=0.5))((0.5, 0.5))
    kept = dare(given, DareSettings(drop=0.0, scale=0.5))((0.5, 0.5))
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    ones = {"w": torch.ones(200_000)}
    thin = thinned(ones, 0.9, [0, 1])["w"]
    assert float((thin == 0).float().mean()) == pytest.approx(0.9, abs=0.005)
    assert float(thin.mean()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(thin, thinned(ones, 0.9, [0, 2])["w"])
    assert summed([ones, ones], (0.5, 0.5))["w"].tolist() == [2] * 200_000


def test_a_scale_left_open_is_chosen_on_held_out_training_images() -> None:
    given = problem("mlp", (trained("mlp", 0), trained("mlp", 0, 4)), base=BASE)
    combiner = task_arithmetic(given, TaskArithmeticSettings())
    tried = dict(combiner.notes["tried"])
    assert len(tried) == 15
    assert tried[combiner.notes["scale"]] == min(tried.values())
    assert combiner.notes["chosen"] == combiner.notes["scale"]
    blind = task_arithmetic(replace(given, data=None), TaskArithmeticSettings())
    assert blind.notes["scale"] == 0.4


@pytest.mark.parametrize("combine", ["task-arithmetic", "ties", "dare"])
def test_experts_of_one_base_merge_through_the_front_door(combine: str) -> None:
    pair = [trained("mlp", 0, 4), trained("mlp", 0, 6)]
    before = [tensors_of(net) for net in (*pair, BASE)]
    result = merge(pair, align="none", combine=combine, base=BASE, data=blobs(400))
    assert accuracy(result.merged, blobs(500, seed=3)) > 0.8
    assert result.notes["combine"]["scale"] > 0
    assert all(
        torch.equal(old[key], net.state_dict()[key])
        for old, net in zip(before, (*pair, BASE), strict=True)
        for key in old
    )


def test_a_base_is_asked_for_and_must_fit() -> None:
    pair = [make("mlp", 0), make("mlp", 1)]
    with pytest.raises(InvalidRequest, match="Task arithmetic merges experts of one base network"):
        merge(pair, combine="task-arithmetic", data=blobs(100))
    with pytest.raises(Exception, match=r"different structures.*the base"):
        prepare(pair, combine="ties", base=make("cnn", 0), data=blobs(100))
