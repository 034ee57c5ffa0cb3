import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.interpolation import corrector_for, curves, interpolate
from merging.errors import Cancelled, DataUnavailable, IncompatibleModels, InvalidSetting
from merging.methods.problem import Corrector
from merging.network.data import as_batches
from merging.network.permutation import named_tensors, with_tensors
from merging.pipeline.merge import merge
from merging.progress import read_point


def net(seed, norm=True):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU(), nn.Flatten(1)]
    model = nn.Sequential(*layers, nn.Linear(6 * 36, 4))
    if norm:
        model[1].running_mean.uniform_(-1, 1)
        model[1].running_var.uniform_(0.5, 2)
        model[1].num_batches_tracked.fill_(10 + seed)
    return model.eval()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return as_batches((rng.random((90, 1, 8, 8), dtype=np.float32), rng.integers(0, 4, 90)), 32)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_ends_are_the_checkpoints_bit_for_bit(data):
    a, b = net(0), net(1)
    curve = interpolate(a, b, data, points=5)
    ends = evaluate(a, data), evaluate(b, data)
    assert curve.ends == ends
    assert curve.lambdas.tolist() == [0, 0.25, 0.5, 0.75, 1]
    for metric in ("loss", "accuracy", "ece"):
        values = getattr(curve, metric)
        assert (values[0], values[-1]) == tuple(getattr(end, metric) for end in ends)
    assert (curve.images, curve.correct, curve.split) == (90, "none", "test")


def test_every_point_is_the_weighted_mean_of_all_weights_and_statistics(data):
    a, b = net(0), net(1)
    curve = interpolate(a, b, data, points=11)
    first, second = named_tensors(a), named_tensors(b)
    for number, weight in enumerate(curve.lambdas.tolist()):
        mixed = {n: (1 - weight) * first[n] + weight * second[n] for n in first if first[n].is_floating_point()}
        expected = evaluate(with_tensors(a, mixed), data)
        assert curve.loss[number] == pytest.approx(expected.loss, abs=1e-6)


def test_half_way_the_curve_is_the_average_bit_for_bit(data):
    a, b = net(0), net(1)
    merged = merge([a, b], align="none", example=data.example()).merged
    assert interpolate(a, b, data, points=3).loss[1] == evaluate(merged, data).loss


def test_the_default_is_25_points_and_no_model_is_changed(data):
    a, b = net(0).train(), net(1)
    before = state(a), state(b)
    assert len(interpolate(a, b, data).loss) == 25
    assert same(state(a), before[0])
    assert same(state(b), before[1])
    assert a.training
    assert a[3].training


def test_there_and_back_is_the_same_curve(data):
    there, back = interpolate(net(0), net(1), data, points=9), interpolate(net(1), net(0), data, points=9)
    np.testing.assert_allclose(there.loss, back.loss[::-1], rtol=1e-6)


def test_between_a_network_and_itself_nothing_happens(data):
    curve = interpolate(net(0), net(0), data, points=7)
    np.testing.assert_allclose(curve.loss, curve.loss[0], rtol=1e-6)
    assert abs(curve.barrier().height) < 1e-6


def test_a_straight_line_in_the_last_layer_alone_has_a_convex_loss(data):
    a, b = net(0), net(0)
    with torch.no_grad():
        b[4].weight.add_(torch.randn(b[4].weight.shape, generator=torch.Generator().manual_seed(5)))
    loss = interpolate(a, b, data, points=15).loss  # cross-entropy is convex in the logits, which are linear in lambda
    assert (np.diff(loss, 2) >= -1e-6).all()


def test_splits_are_measured_on_the_same_weights_in_one_go(data):
    other = data.sample(40, seed=1)
    both = curves(net(0), net(1), {"train": data, "test": other}, points=5)
    alone = interpolate(net(0), net(1), other, points=5)
    assert both["test"].loss.tolist() == alone.loss.tolist()
    assert {split: curve.split for split, curve in both.items()} == {"train": "train", "test": "test"}
    assert both["train"].images == 90


@pytest.mark.parametrize("key", ["batch-norm-reset", "repair"])
def test_a_corrected_curve_is_corrected_at_every_lambda_its_ends_too(data, key):
    a, b = net(0), net(1)
    before = state(a), state(b)
    test = data.sample(50, seed=2)
    curve = interpolate(a, b, test, points=3, correct=key, correction_data=data)
    assert curve.ends == (evaluate(a, test), evaluate(b, test))
    corrector = corrector_for(a, b, key, data)
    for number, weight in enumerate(curve.lambdas.tolist()):
        first, second = named_tensors(a), named_tensors(b)
        mixed = {n: (1 - weight) * first[n] + weight * second[n] for n in first if first[n].is_floating_point()}
        expected = evaluate(corrector(with_tensors(a, mixed), (1 - weight, weight)), test)
        assert curve.loss[number] == pytest.approx(expected.loss, rel=1e-5)
    assert curve.correct == key
    assert same(state(a), before[0])
    assert same(state(b), before[1])


@pytest.mark.parametrize("key", ["batch-norm-reset", "repair", "rescale"])
def test_networks_in_training_mode_are_measured_in_eval_mode_and_left_alone(data, key):
    expected = interpolate(net(0), net(1), data, points=3, correct=key)
    a, b = net(0).train(), net(1).train()
    before = state(a), state(b)
    found = interpolate(a, b, data, points=3, correct=key)
    assert found.loss.tolist() == expected.loss.tolist()
    assert same(state(a), before[0])
    assert same(state(b), before[1])
    assert a.training


def test_reset_statistics_move_even_the_ends(data):
    curve = interpolate(net(0), net(1), data, points=3, correct="batch-norm-reset")
    assert curve.loss[0] != curve.ends[0].loss


def test_a_corrector_that_spoils_its_input_spoils_no_later_point(data):
    def spoil(model, weights):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.zero_()
        return model

    curve = curves(net(0), net(1), {"test": data}, points=3, corrector=Corrector(spoil), correct="zero")["test"]
    assert curve.loss == pytest.approx(np.log(4), abs=1e-6)
    seen = []

    def look(model, weights):
        seen.append(model[1].num_batches_tracked.item())
        return spoil(model, weights)

    curves(net(0), net(1), {"test": data}, points=5, corrector=Corrector(look))
    assert seen == [10] * 5


def test_known_ends_are_taken_over(data):
    a, b = net(0), net(1)
    raw = curves(a, b, {"test": data}, points=3)["test"]
    calls = []
    corrector = Corrector(lambda model, weights: calls.append(weights) or model)
    found = curves(a, b, {"test": data}, points=3, corrector=corrector, ends={"test": raw.ends})["test"]
    assert found.ends == raw.ends
    assert calls == [(1, 0), (0.5, 0.5), (0, 1)]


def test_it_tells_where_it_is_and_can_be_stopped(data):
    told = []
    interpolate(net(0), net(1), data, points=5, report=lambda *args: told.append(args))
    curve = interpolate(net(0), net(1), data, points=5)
    assert [(stage, share) for stage, share, _ in told] == [("curve", number / 5) for number in range(1, 6)]
    points = [read_point(words) for *_, words in told]
    np.testing.assert_allclose(
        [(one.at, one.loss, one.accuracy) for one in points],
        np.transpose([curve.lambdas, curve.loss, curve.accuracy]),
        atol=1e-4,
    )

    def stop(stage, fraction=None, message=""):
        raise Cancelled("The run was cancelled.")

    with pytest.raises(Cancelled):
        interpolate(net(0), net(1), data, points=5, report=stop)


def test_what_has_no_line_is_refused_in_words(data):
    with pytest.raises(IncompatibleModels, match=r"4\.weight is \(4, 216\) in A and \(5, 216\) in B"):
        interpolate(net(0), nn.Sequential(*net(1)[:4], nn.Linear(216, 5)), data)
    with pytest.raises(IncompatibleModels, match=r"no such tensor"):
        interpolate(net(0), net(1, norm=False), data)
    with pytest.raises(InvalidSetting, match="odd number of points from 3 to 501"):
        interpolate(net(0), net(1), data, points=1)
    with pytest.raises(InvalidSetting, match="no correct method"):
        interpolate(net(0), net(1), data, correct="magic")
    with pytest.raises(DataUnavailable):
        interpolate(net(0), net(1), [])
