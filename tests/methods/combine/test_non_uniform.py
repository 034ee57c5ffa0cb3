"""NP Merge: never worse than the average where it learned, exact ends, and the choices it reports."""

import torch

from merging.methods.algorithms.averaging import weighted_mean
from merging.methods.algorithms.gradient_training import Forward, parameters_of
from merging.methods.combine.non_uniform import NonUniformSettings, non_uniform
from merging.network.permutation import named_tensors
from tests.nets.pairs import blobs, problem, same, tensors_of, trained

PAIR = (trained("mlp", 0), trained("mlp", 1))


def loss(tensors: dict[str, torch.Tensor]) -> float:
    names = dict(PAIR[0].named_parameters())
    return Forward(PAIR[0]).mean_loss({name: t for name, t in tensors.items() if name in names}, blobs(300))


def test_it_merges_better_than_the_plain_average_on_the_images_it_learned_from() -> None:
    given = problem("mlp", PAIR)
    learned = non_uniform(given, NonUniformSettings(batch=50))((0.5, 0.5))
    plain = weighted_mean([named_tensors(net) for net in PAIR], (0.5, 0.5))
    assert loss(learned) < loss(plain)


def test_left_open_the_rate_and_epoch_are_the_best_on_held_out_images_the_average_among_them() -> None:
    notes = non_uniform(problem("mlp", PAIR), NonUniformSettings(batch=50)).notes
    told = notes["by_model"]["B"]
    tried = {(rate, epoch): value for rate, epoch, value in told["tried"]}
    assert (0.0, 0) in tried
    assert len(tried) == 1 + 3 * 5
    assert tried[told["rate"], told["epoch"]] == min(tried.values())
    assert notes["images"] == 150


def test_given_rate_and_epochs_are_kept_even_where_the_average_is_better() -> None:
    told = non_uniform(problem("mlp", PAIR), NonUniformSettings(batch=50, rate=5.0, epochs=2)).notes["by_model"]["B"]
    assert (told["rate"], told["epoch"]) == (5.0, 2)


def test_the_path_runs_from_a_through_the_learned_merge_to_b() -> None:
    given = problem("mlp", PAIR)
    combiner = non_uniform(given, NonUniformSettings(batch=50, rate=0.1, epochs=1))
    before = [tensors_of(net) for net in PAIR]
    assert same(dict(combiner((1.0, 0.0))), before[0])
    assert same(dict(combiner((0.0, 1.0))), before[1])
    a, b = (net["1.weight"] for net in before)
    near = combiner((0.99, 0.01))["1.weight"]
    share = ((near - b) / (a - b))[(a - b).abs() > 1e-2]
    assert float(share.min()) > 0.9
    middle = ((combiner((0.5, 0.5))["1.weight"] - b) / (a - b))[(a - b).abs() > 1e-2]
    assert float(middle.std()) > 0.02


def test_three_models_join_one_by_one_and_each_end_is_exact() -> None:
    nets = (*PAIR, trained("mlp", 2))
    combiner = non_uniform(problem("mlp", nets), NonUniformSettings(batch=50, rate=0.03, epochs=1))
    for number, net in enumerate(nets):
        weights = tuple(float(number == index) for index in range(3))
        assert all(torch.equal(combiner(weights)[name], p) for name, p in parameters_of(net).items())
    assert set(combiner.notes["by_model"]) == {"B", "C"}
