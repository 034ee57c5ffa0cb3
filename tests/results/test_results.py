import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

from merging.errors import MergescopeError
from merging.results import saving
from merging.results.reports import (
    Barrier,
    LayerInfo,
    LayerUnits,
    LossCurve,
    MergeReport,
    Metrics,
    PathPoints,
    SimilarityMap,
    TrainReport,
    UnitPicture,
)
from merging.results.saving import load, save, to_json


def curve(loss, lambdas=None, accuracy=None, ends=None):
    loss = np.asarray(loss, dtype=np.float64)
    lambdas = np.linspace(0, 1, len(loss)) if lambdas is None else np.asarray(lambdas)
    accuracy = 1 - loss if accuracy is None else np.asarray(accuracy)
    ends = ends or tuple(Metrics(float(loss[i]), float(accuracy[i]), 0.01) for i in (0, -1))
    return LossCurve(lambdas, loss, accuracy, loss / 10, ends, "train", 30, "repair")


def units():
    rng = np.random.default_rng(0)
    wide = rng.random((4, 3))
    match = np.array([0.5, np.nan, -0.1])
    exemplars = rng.integers(0, 9, (4, 3, 2))
    return LayerUnits(
        "features.0",
        "conv",
        3,
        (5, 5),
        np.array([2, 0, 1]),
        match,
        wide,
        wide,
        wide > 0.5,
        exemplars,
        exemplars / 2,
        rng.random((4, 3, 2, 2)),
        9,
        0.25,
    )


def similarity():
    return SimilarityMap(np.array([[1, np.nan], [-0.2, np.inf]]), ("a", "b"), ("a", "b"), "A", "pi(B)", "debiased", 9)


def report():
    return MergeReport(
        request={"models": [{"name": "Netz α", "classes": ["x"]}], "seed": 0, "settings": {}},
        layers=(LayerInfo("features.0", "conv", 3, (5, 5), "features.0"), LayerInfo("fc", "linear", 2, ())),
        groups={"features.0": (3, 2)},
        equivalence=1e-16,
        curves={"naive": {"train": curve([0.1, 0.9, 0.2])}},
        ensemble={"test": Metrics(0.1, 0.9, 0.01)},
        similarity={"A-B": similarity()},
        units=(units(),),
        permutation={"features.0": np.array([2, 0, 1])},
        notes={"align": {"restarts": [1.5, 2.5], "none": None, "ok": True, "is": "Metrics"}},
        seconds={"align": 0.25},
        machine={"device": "cpu"},
    )


def path_points() -> PathPoints:
    images, guess = np.arange(2), np.zeros((3, 2, 1), np.int32)
    sure, variance = np.full((3, 2, 1), 0.5, np.float32), np.array([[1, np.nan]] * 3, np.float32)
    return PathPoints(images, images, {"naive": guess}, {"naive": sure}, ("a", "b"), {"naive": variance}, 100)


VALUES = [
    Metrics(0.5, 0.25, float("nan")),
    Barrier(-0.5, 0.25),
    curve([0.1, 0.5, 0.2]),
    similarity(),
    path_points(),
    units(),
    LayerInfo("a", "conv", 3, (2, 2)),
    UnitPicture(np.zeros((2, 2, 3), np.float32), 1.5, 0.5, {"steps": 256, "seed": 0}),
    report(),
    TrainReport("net", "ab" * 32, 0.9, 0.3, ({"epoch": 1.0, "test_accuracy": 0.8},), 12.5, {"device": "cpu"}),
]


def assert_same(first, second):
    """Equal in value, type, dtype and nesting; NaN equals NaN."""
    assert type(first) is type(second)
    if dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second) or set(first) == set(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (tuple, list)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second or (first != first and second != second)


def test_every_kind_of_value_is_tried():
    assert {type(value).__name__ for value in VALUES} == {kind.__name__ for kind in saving._SAVED}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_saved_is_what_is_loaded(value):
    data = save(value)
    assert_same(load(data), value)
    assert save(value) == data
    assert save(load(data)) == data


def test_numpy_numbers_come_back_as_plain_ones():
    found = load(save(Metrics(np.float64(0.5), np.float32(0.25), np.int64(1))))
    assert [type(value) for value in (found.loss, found.accuracy, found.ece)] == [float, float, int]


def test_the_bytes_hold_no_time_and_no_pickle():
    with zipfile.ZipFile(io.BytesIO(save(report()))) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[0] == "value.json"
    with pytest.raises(ValueError, match="allow_pickle"):
        save(dataclasses.replace(similarity(), values=np.array([object()])))


def rewritten(value, change):
    """The saved bytes of `value` with its value.json changed by hand."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(save(value))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "value.json":
                data = json.dumps(change(json.loads(data))).encode()
            new.writestr(name, data)
    return out.getvalue()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


DAMAGED = {
    "empty": b"",
    "text": b"not a result",
    "cut off": save(report())[:200],
    "cut in the directory": save(report())[:-30],
    "flipped bit in the data": flipped(save(report()), 60),
    "another kind": rewritten(similarity(), lambda plain: {**plain, "is": "Pickle"}),
    "no kind": rewritten(similarity(), lambda plain: {key: value for key, value in plain.items() if key != "is"}),
    "a field more": rewritten(similarity(), lambda plain: {**plain, "colour": 1}),
    "a missing array": rewritten(similarity(), lambda plain: {**plain, "values": {"is": "array", "number": 7}}),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=list(DAMAGED))
def test_damaged_bytes_are_refused_in_words(data):
    with pytest.raises(MergescopeError, match="not a saved result"):
        load(data)


def test_any_flipped_byte_is_refused_or_harmless():
    value = similarity()
    data = save(value)
    for at in range(0, len(data), 7):
        try:
            found = load(flipped(data, at))
        except MergescopeError:
            continue
        assert_same(found, value)  # bytes that say nothing about the value, such as the date


def test_json_for_other_programs_has_null_for_what_is_no_number():
    plain = json.loads(to_json(report()))
    assert plain["similarity"]["A-B"]["values"] == [[1, None], [-0.2, None]]
    assert plain["units"][0]["match"] == [0.5, None, -0.1]
    assert plain["curves"]["naive"]["train"]["lambdas"] == [0, 0.5, 1]
    assert plain["request"]["models"][0]["name"] == "Netz α"
    assert json.loads(to_json(Metrics(np.float32(0.5), float("inf"), 0.1)))["accuracy"] is None


def test_a_barrier_is_the_rise_above_the_mean_or_the_chord():
    bent = curve([0.1, 0.6, 0.9, 0.5])
    assert bent.barrier("loss") == Barrier(pytest.approx(0.9 - 0.3), pytest.approx(2 / 3))
    assert bent.barrier("loss", above="chord").height == pytest.approx(0.9 - (0.1 + 0.4 * 2 / 3))
    assert bent.barrier("accuracy").height == pytest.approx(0.6)
    assert bent.barrier("ece").height == pytest.approx(0.09 - 0.01)


def test_a_barrier_is_measured_from_the_raw_ends():
    ends = (Metrics(0.2, 0.8, 0), Metrics(0.4, 0.6, 0))
    assert curve([0.5, 0.5, 0.5], ends=ends).barrier("loss").height == pytest.approx(0.2)


def test_the_three_published_readings_of_one_curve_differ():
    """A curve whose peak is off the middle, with a higher end: above the mean, the chord, and at the midpoint only."""
    lambdas = np.linspace(0, 1, 25)
    loss = 0.2 + 0.1 * lambdas + np.exp(-((lambdas - 0.6) ** 2) / 0.03)
    ends = (Metrics(loss[0], 0, 0), Metrics(loss[-1], 0, 0))
    found = curve(loss, ends=ends)
    mean, chord = (found.barrier("loss", above=above).height for above in ("mean", "chord"))
    middle = found.middle() - (loss[0] + loss[-1]) / 2
    assert mean > chord > middle > 0


def test_a_path_below_its_ends_has_a_negative_barrier_above_the_mean():
    ends = (Metrics(0.9, 0.1, 0), Metrics(0.9, 0.1, 0))
    assert curve([0.5, 0.4, 0.5], ends=ends).barrier().height == pytest.approx(-0.4)


def test_the_middle_is_the_point_nearest_to_one_half():
    assert curve([0.1, 0.2, 0.7, 0.3, 0.1]).middle() == 0.7
    assert curve([0.1, 0.2, 0.3, 0.4], lambdas=[0, 0.4, 0.7, 1]).middle("accuracy") == pytest.approx(0.8)
