"""Straight-through estimator and Sinkhorn: what they promise, on trained nets and on twins."""

import pytest
import torch

from merging.errors import DataUnavailable
from merging.methods.algorithms.gradient_training import Forward, descend, halfway, parameters_of, without_end
from merging.methods.align.sinkhorn import SinkhornSettings, doubly_stochastic, sinkhorn
from merging.methods.align.straight_through import StraightThroughSettings, straight_through
from merging.pipeline.merge import merge
from tests.nets.pairs import accuracy, blobs, make, problem, same, tensors_of, trained


def test_the_straight_through_choice_is_never_worse_than_weight_matchings_on_held_out_images() -> None:
    given = problem("mlp", (trained("mlp", 0), trained("mlp", 1)))
    notes = straight_through(given, StraightThroughSettings(steps=30, batch=50)).notes
    losses = dict(notes["checks"])
    assert losses[notes["chosen"]] == min(losses.values()) <= losses[0]
    assert list(losses)[-1] == 30
    assert notes["images"] == 150


def test_straight_through_merges_trained_nets_better_than_the_naive_average() -> None:
    pair, test = [trained("mlp", 0), trained("mlp", 1)], blobs(500, seed=3)
    wishes = {"align": {"steps": 30, "batch": 50}}
    merged = merge(pair, align="straight-through", data=blobs(300), settings=wishes).merged
    naive = merge(pair, align="none", data=blobs(300)).merged
    assert accuracy(merged, test) > accuracy(naive, test)


def test_sinkhorns_matrix_has_rows_and_columns_of_one_and_hardens_with_the_scale() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    soft = doubly_stochastic(logits, 200)
    assert torch.allclose(soft.sum(0), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(soft.sum(1), torch.ones(6, dtype=torch.float64), atol=1e-6)
    assert float(doubly_stochastic(50 * logits, 200).max(1).values.mean()) > float(soft.max(1).values.mean())


@pytest.mark.parametrize("objective", ["weights", "midpoint", "random"])
def test_sinkhorn_keeps_the_best_of_its_checks(objective: str) -> None:
    given = problem("mlp", (trained("mlp", 0), trained("mlp", 1)))
    notes = sinkhorn(given, SinkhornSettings(objective=objective, steps=40)).notes
    values = dict(notes["checks"])
    assert values[notes["chosen"]] == min(values.values()) <= values[0]
    assert notes["images"] == (0 if objective == "weights" else 150)


def test_sinkhorn_raises_the_agreement_of_weights_by_much() -> None:
    given = problem("mlp", (trained("mlp", 0), trained("mlp", 1)))
    checks = sinkhorn(given, SinkhornSettings(steps=100)).notes["checks"]
    assert min(value for _, value in checks) < checks[0][1] - 0.2 * abs(checks[0][1])


def test_sinkhorn_needs_images_for_a_loss_and_none_for_weights() -> None:
    pair = [make("mlp", 0), make("mlp", 1)]
    example = torch.rand(2, 1, 8, 8)
    assert merge(pair, align="sinkhorn", example=example, settings={"align": {"steps": 2}}).notes["equivalence"] < 1e-9
    with pytest.raises(DataUnavailable, match="training images"):
        merge(pair, align="sinkhorn", example=example, settings={"align": {"objective": "midpoint"}})


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_a_forward_pass_with_other_parameters_changes_nothing_and_learns_only_them(kind: str) -> None:
    net, data = make(kind, 0), blobs(200)
    before = tensors_of(net)
    forward = Forward(net)
    leaves = {name: p.clone().requires_grad_() for name, p in parameters_of(net).items()}
    images = without_end(data, net, 0)
    losses = [
        value
        for value, _ in zip(
            descend(leaves, 0.01, images, lambda x, y: forward.loss(leaves, x, y)), range(12), strict=False
        )
    ]
    assert losses[-1] < losses[0]
    assert same(before, tensors_of(net))
    assert all(p.grad is None for p in net.parameters())
    assert not net.training


def test_batch_norm_is_run_on_the_batches_own_statistics() -> None:
    net = make("residual", 0)
    forward, (images, labels) = Forward(net), next(iter(blobs(100).sized(100)))
    training = make("residual", 0).train()
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(training(images), labels)
    assert torch.allclose(forward.loss(parameters_of(net), images, labels), expected, atol=1e-6)
    assert all(torch.isfinite(t).all() for t in forward.buffers.values())


def test_half_way_is_the_mean() -> None:
    a, b = (parameters_of(make("mlp", seed)) for seed in (0, 1))
    assert torch.allclose(halfway(a, b)["1.weight"], (a["1.weight"] + b["1.weight"]) / 2)
