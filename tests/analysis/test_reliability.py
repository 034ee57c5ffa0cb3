"""CKA beside other measures, with the published cases in which it misleads (Davari et al. 2023)."""

import numpy as np
import pytest
import torch

from merging.analysis.similarity.cka import linear_cka
from merging.analysis.similarity.hsic import centred, gram
from merging.analysis.similarity.measures import (
    MEASURES,
    Side,
    cka_debiased,
    map_of,
    mutual_neighbours,
    procrustes,
    trimmed_cka,
)
from merging.analysis.similarity.reliability import _shuffled, examine
from merging.errors import DataUnavailable
from merging.studies.reliability import Reliability

rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(10), 60)
BASE = np.maximum(2 * rng.standard_normal((10, 32))[LABELS] + rng.standard_normal((600, 32)), 0)
AWAY = rng.standard_normal(32) / 32**0.5


def changed(**how) -> torch.Tensor:
    x = BASE.copy()
    x[how.get("rows", slice(0, 0))] += how.get("far", 0) * AWAY
    if "unit" in how:
        x[:, how["unit"]] *= 30
    return torch.from_numpy(x)


CASES = {
    "one image": changed(rows=[7], far=1000),
    "a third": changed(rows=rng.permutation(600)[:180], far=100),
    "five classes": changed(rows=LABELS < 5, far=100),
    "one unit": changed(unit=3),
}


def seen(case: str, **more) -> Reliability:
    found = vars(examine(changed(), CASES[case], draws=40, **more))
    return Reliability(pair="A-B", layers=("x", "y"), treatment="pooled", **found)


def test_the_reference_values():
    numbers = np.random.RandomState(1337)
    x = numbers.randn(100, 10)
    y = numbers.randn(100, 10) + x
    pair = [Side(torch.from_numpy(one)) for one in (x, y)]
    known = {"cka": 0.51346, "cka-biased": 0.55761, "cka-rbf": 0.65483}
    for key, value in known.items():
        assert MEASURES[key][1](*pair) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("key", MEASURES)
def test_no_measure_sees_rotation_scale_or_offset(key):
    turned, _ = np.linalg.qr(rng.standard_normal((32, 32)))
    x = Side(changed())
    other = Side(torch.from_numpy(3 * BASE @ turned + 5))
    assert MEASURES[key][1](x, other) == pytest.approx(1, abs=2e-3 if key == "knn" else 1e-6)


@pytest.mark.parametrize("key", MEASURES)
def test_wide_features_are_measured_as_they_are(key):
    """More features than images are turned into principal components, which no measure may see."""
    x, y = (torch.from_numpy(np.random.default_rng(seed).standard_normal((60, 25))) for seed in (1, 2))
    turned = torch.linalg.qr(torch.randn(200, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    narrow, wide = (
        MEASURES[key][1](Side(x), Side(x + y)),
        MEASURES[key][1](Side(x @ turned.T), Side((x + y) @ turned.T)),
    )
    assert wide == pytest.approx(narrow, abs=1e-9)


def test_shuffled_images_are_unrelated():
    shuffled = Side(changed()[torch.from_numpy(rng.permutation(600))])
    for key in ("cka", "cka-rbf", "knn"):
        assert abs(MEASURES[key][1](Side(changed()), shuffled)) < 0.05


def test_one_image_far_away_breaks_cka_and_nothing_else():
    pair = Side(changed()), Side(CASES["one image"])
    assert cka_debiased(*pair) < 0.5
    assert trimmed_cka(*pair) > 0.999
    assert mutual_neighbours(*pair) > 0.98
    found = seen("one image")
    assert found.leverage[1] > 0.8 and found.first[1] > 0.8
    assert found.dominant[0] == 7
    assert found.light == "red"
    assert any("few images decide" in doubt for doubt in found.doubts)


def test_translated_classes_keep_their_neighbours():
    pair = Side(changed()), Side(CASES["five classes"])
    assert cka_debiased(*pair) < 0.5
    assert trimmed_cka(*pair) == pytest.approx(cka_debiased(*pair), abs=0.05)
    assert mutual_neighbours(*pair) > 0.98
    assert seen("five classes").light == "red"
    assert any("misses a similarity" in doubt for doubt in seen("five classes").doubts)


def test_a_random_third_translated_loses_neighbours_too():
    assert mutual_neighbours(Side(changed()), Side(CASES["a third"])) == pytest.approx(0.6, abs=0.05)
    assert cka_debiased(Side(changed()), Side(CASES["a third"])) < 0.1


def test_one_large_unit_is_one_direction():
    found = seen("one unit")
    assert found.first[1] > 0.9
    assert found.light in ("amber", "red")
    assert procrustes(Side(changed()), Side(CASES["one unit"])) < 0.7


def test_a_good_pair_is_green_and_its_interval_holds_the_value():
    noisy = changed() + 0.3 * torch.from_numpy(np.random.default_rng(1).standard_normal((600, 32)))
    found = Reliability(pair="A-B", layers=("x", "y"), treatment="pooled", **vars(examine(changed(), noisy, draws=60)))
    assert found.light == "green", found.doubts
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.1
    assert found.value > found.null
    assert found.p_value == pytest.approx(1 / 600)  # none of the other 599 shifts of 600 images reaches it


def test_a_shuffled_pair_is_chance():
    shuffled = changed()[torch.from_numpy(rng.permutation(600))]
    found = Reliability(
        pair="A-B", layers=("x", "y"), treatment="pooled", **vars(examine(changed(), shuffled, draws=60))
    )
    assert found.light == "red"
    assert abs(found.value) < 0.05 and found.p_value > 0.05


def test_the_interval_is_that_of_other_samples():
    """Of two hundred fresh samples' values, about 95 % lie as near to their mean as the interval is wide."""
    mix = np.random.default_rng(5).standard_normal((8, 8))

    def sample(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = np.random.default_rng([9, seed])
        x = numbers.standard_normal((150, 8))
        return torch.from_numpy(x), torch.from_numpy(x @ mix + 3 * numbers.standard_normal((150, 8)))

    values = np.array([cka_debiased(*map(Side, sample(seed))) for seed in range(200)])
    found = examine(*sample(1000), draws=200)
    half = (found.high - found.low) / 2
    inside = np.mean(np.abs(values - values.mean()) < half)
    assert 0.88 < inside < 0.995


def test_too_few_images_for_neighbours():
    with pytest.raises(DataUnavailable, match="12 images"):
        map_of("knn", [Side(torch.rand(8, 3))], [Side(torch.rand(8, 3))])


@pytest.mark.parametrize("images", [12, 13, 60])
def test_shuffled_values_are_those_of_the_shuffled_features(images):
    """All cyclic shifts of one random order, each against CKA computed anew."""
    draw = np.random.default_rng(images)
    x, y = (torch.from_numpy(draw.standard_normal((images, 5))) for _ in range(2))
    grams = [gram(centred(side)).fill_diagonal_(0) for side in (x, y)]
    found = _shuffled(grams, images - 1, np.random.default_rng(3))
    order = torch.from_numpy(np.random.default_rng(3).permutation(images))
    anew = [linear_cka(x[order], y[order].roll(-shift, 0)) for shift in range(1, images)]
    assert found == pytest.approx(anew, abs=1e-9)


def test_chance_is_called_chance_as_often_as_it_says():
    """p-values of unrelated features are uniform: a test by a group of shuffles is exact."""
    draw = np.random.default_rng(0)
    pairs = [[torch.from_numpy(draw.standard_normal((30, 4))) for _ in range(2)] for _ in range(200)]
    p = np.array([examine(*pair, draws=29, seed=k).p_value for k, pair in enumerate(pairs)])
    assert abs(p.mean() - 0.5) < 0.08 and 0.02 < (p <= 0.1).mean() < 0.2
