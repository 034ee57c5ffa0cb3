"""Studies of units and of the path: what must hold whatever the networks are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from merging.analysis.activations.responses import overlap, relative, respond, tuning
from merging.analysis.path.evaluation import evaluate
from merging.analysis.pictures.render import direction_images, render
from merging.analysis.pictures.settings import PictureSettings
from merging.errors import IncompatibleModels, InvalidRequest, UnknownLayer
from merging.network.batch_norm import reset_batch_norm
from merging.network.permutation import PermutationSpec, named_tensors, with_tensors
from merging.settings import read_settings
from merging.studies.evidence import MOST
from merging.studies.landscape import RESET
from merging.studies.layer import SLOTS
from merging.studies.registry import find_study
from merging.studies.units import WORDS, fate, follows, outcome
from merging.text.reasons import reasons
from tests.nets.pairs import structure, trained, twin
from tests.studies.subjects import merged, of


def run(key: str, subject=None, **settings):
    asked = find_study(key)
    return asked.run(subject or merged(), read_settings(asked.settings, settings))


def itself(kind: str = "cnn"):
    """A net merged with a permuted twin of itself."""
    a = trained(kind, 0)
    return of(kind, a, twin(kind, a, 3)[0])


def test_a_twins_units_follow_each_other_wholly():
    found = run("layer", itself(), layer="0")
    alive = ~found.dead.any(0)
    a, aligned, merge = (SLOTS.index(slot) for slot in ("A", "pi(B)", "merge"))
    for table in (found.overlap, found.activation, found.weight):
        np.testing.assert_allclose(table[a, [aligned, merge]][:, alive], 1, atol=1e-5)
    np.testing.assert_allclose(found.response[a, a], found.response[merge, a], atol=1e-5)
    assert found.change()[alive].max() < 0.5


def test_tables_of_a_layer_are_consistent():
    found = run("layer", layer="2")
    alive = ~found.dead
    for number in range(len(SLOTS)):
        np.testing.assert_allclose(found.overlap[number, number][alive[number]], 1)
        np.testing.assert_allclose(found.activation[number, number][alive[number]], 1, atol=1e-9)
        strongest = found.response[number, number][alive[number]]
        assert (strongest >= found.response[number, :, alive[number]].max(1) - 1e-9).all()
    np.testing.assert_allclose(found.overlap, found.overlap.transpose(1, 0, 2))
    assert np.nanmax(found.response) <= 1 + 1e-9


def test_a_dead_unit_is_dead_in_every_table():
    subject = merged()
    weight = named_tensors(subject.nets["merge"])["0.weight"].clone()
    bias = named_tensors(subject.nets["merge"])["0.bias"].clone()
    weight[4], bias[4] = 0, -1
    broken = replace(
        subject, nets={**subject.nets, "merge": with_tensors(subject.nets["A"], {"0.weight": weight, "0.bias": bias})}
    )
    found = run("layer", broken, layer="1")
    merge = SLOTS.index("merge")
    assert found.dead[merge, 4] and not found.dead[SLOTS.index("A"), 4]
    assert np.isnan(found.response[merge, :, 4]).all() and np.isnan(found.overlap[merge, :, 4]).all()
    assert fate(True, 1.0, 1.0, 1.0) == "died"


@pytest.mark.parametrize(
    ("dead", "to_a", "to_b", "agree", "word"),
    [
        (True, 0.9, 0.9, 0.9, "died"),
        (False, 0.9, 0.6, 0.5, "kept"),
        (False, 0.5, 0.5, 0.49, "blended"),
        (False, 0.9, 0.1, 0.9, "one-sided"),
        (False, 0.1, 0.5, 0.0, "one-sided"),
        (False, 0.49, 0.49, 1.0, "replaced"),
        (False, float("nan"), 0.9, 1.0, "one-sided"),
        (False, float("nan"), float("nan"), float("nan"), "replaced"),
        (False, 0.9, 0.9, float("nan"), "blended"),
    ],
)
def test_the_rule_for_a_units_fate(dead, to_a, to_b, agree, word):
    assert fate(dead, to_a, to_b, agree) == word
    assert word in WORDS


def test_following_counts_each_response_from_0_to_1():
    assert follows(3.0, 0.5) == 0.75
    assert follows(-2.0, 0.5) == 0.25
    assert follows(float("nan"), 0.5) == 0.5
    assert np.isnan(follows(float("nan"), float("nan")))


def test_the_matched_units_pictures_are_bs_own():
    subject = merged()
    found = run("units", subject, layer="0", steps=16, negative=False)
    partner = [int(unit) for unit in subject.partner[next(iter(subject.partner))]]
    own = render(
        subject.graph, named_tensors(subject.nets["B"]), "0", partner, input_shape=(1, 8, 8),
        settings=PictureSettings(steps=16),
    )  # fmt: skip
    expected = np.round(255 * np.array([picture.pixels for picture in own]))
    np.testing.assert_array_equal(found.pictures["first"][SLOTS.index("pi(B)")], expected)
    np.testing.assert_array_equal(found.units, range(12))
    assert (found.pictures["first"] != found.pictures["second"]).any()
    diagonal = [found.pixels[i, i] for i in range(len(SLOTS))]
    np.testing.assert_allclose(diagonal, 1, atol=1e-9)


def test_twins_answer_to_each_others_pictures_alike():
    found = run("units", itself("mlp"), layer="1", steps=24, negative=False)
    a, merge = SLOTS.index("A"), SLOTS.index("merge")
    np.testing.assert_allclose(found.cross[a], found.cross[merge], rtol=1e-3, atol=1e-3)


def test_a_picture_of_the_negative_direction_excites_less_than_noise():
    graph, net = structure("cnn")[0], named_tensors(trained("cnn", 0))
    for layer in ("0", "1"):
        found = render(
            graph, net, layer, [2, 5], input_shape=(1, 8, 8), settings=PictureSettings(steps=32, negative=True)
        )
        assert all(picture.objective < picture.start for picture in found)


def test_a_direction_of_one_unit_is_that_unit():
    graph, net = structure("cnn")[0], named_tensors(trained("cnn", 0))
    settings = PictureSettings(steps=24)
    unit = render(graph, net, "0", [3], input_shape=(1, 8, 8), settings=settings)[0]
    along = direction_images(graph, net, "0", np.eye(12, dtype=np.float32)[3:4], settings=settings)[0]
    assert np.corrcoef(unit.pixels.ravel(), along.pixels.ravel())[0, 1] > 0.98
    with pytest.raises(InvalidRequest, match="12 units"):
        direction_images(graph, net, "0", np.eye(5))


def test_a_film_begins_with_as_picture_and_its_control_is_numerical_noise():
    subject = merged("mlp")
    found = run("film", subject, layer="1", points=3, steps=16)
    own = render(
        subject.graph, named_tensors(subject.nets["A"]), "1", range(16), input_shape=(1, 8, 8),
        settings=PictureSettings(steps=16),
    )  # fmt: skip
    first = np.round(255 * np.array([picture.pixels for picture in own]))
    for line in ("naive", "aligned"):
        np.testing.assert_array_equal(found.pictures[line]["cold"][0], first)
        np.testing.assert_array_equal(found.pictures[line]["warm"][0], first)
        assert np.nanmin(found.control[line]) > 0.95
        assert np.isnan(found.step[line]["cold"][0]).all() and not np.isnan(found.step[line]["cold"][1:]).any()
    assert found.pictures["naive"]["cold"].shape == (3, 16, 8, 8, 1)


def test_the_path_begins_and_ends_with_the_parents():
    subject = merged()
    found = run("along", subject, points=5, images=300)
    for line in ("naive", "aligned"):
        np.testing.assert_allclose(found.to_a[line][0], 1, atol=1e-6)
        np.testing.assert_allclose(found.to_b[line][-1], 1, atol=1e-6)
        np.testing.assert_allclose(found.variance[line][0], 1, atol=1e-6)
        ends = [evaluate(subject.nets[name], subject.images(300)).loss for name in ("A", "B")]
        np.testing.assert_allclose(found.loss[line][[0, -1]], ends, rtol=1e-6)


def test_evidence_has_intervals_and_rows_for_every_unit():
    found = run("evidence", merged("mlp"), units=4, layers=2, steps=16)
    assert len(found.unit) == 8
    mean, low, high = found.interval("overlap", "merge")
    assert low <= mean <= high
    assert np.isnan(found.interval("overlap", "noise")[0])
    assert found.interval("cross", "merge", 0) != found.interval("cross", "merge", 1)
    gain = found.values["overlap"]["merge"] - found.values["overlap"]["naive"]
    assert found.gain("overlap")[0] == pytest.approx(np.nanmean(gain))


def test_all_units_are_measured_once_and_as_in_any_sample():
    subject = merged("mlp")
    every, some = (run("evidence", subject, units=units, layers=MOST, steps=16) for units in (MOST, 5))
    keys = [list(zip(found.layer.tolist(), found.unit.tolist(), strict=True)) for found in (every, some)]
    assert len(set(keys[0])) == len(keys[0]) > len(keys[1]) == 5 * len(some.layers)
    alive = [found.dead[:2].any(0) for found in (run("layer", subject, layer=name) for name in every.layers)]
    assert len(keys[0]) == sum(int((~dead).sum()) for dead in alive)
    places = [keys[0].index(key) for key in keys[1]]
    for measure, rows in some.values.items():
        for row, values in rows.items():
            # Networks respond to other numbers of pictures at once, which are rounded differently.
            np.testing.assert_allclose(values, every.values[measure][row][places], rtol=1e-5, atol=1e-6)


def test_fates_of_all_units_are_those_of_the_units_own_page():
    subject = merged("mlp")
    every = run("evidence", subject, units=MOST, layers=MOST, steps=16)
    words = dict(zip(zip(every.layer.tolist(), every.unit.tolist(), strict=True), every.fates["merge"], strict=True))
    for number, name in enumerate(every.layers):
        seen, pictured = run("layer", subject, layer=name), run("units", subject, layer=name, steps=16)
        for at, unit in enumerate(pictured.units):
            if (number, unit) in words:
                told = outcome(pictured.cross[:, :, at], seen.response[:, :, unit], bool(seen.dead[2, unit]))
                assert words[number, unit] == told[0]
    for row in ("merge", "naive"):
        assert sum(every.shares(row).values()) == pytest.approx(1)
    assert every.fates["merge"] != every.fates["naive"]


def test_a_layer_or_unit_that_is_not_there_is_refused():
    with pytest.raises(UnknownLayer):
        run("layer", layer="nowhere")
    with pytest.raises(UnknownLayer, match="first unit cannot be 100"):
        run("units", layer="0", first=100, steps=16)
    with pytest.raises(InvalidRequest, match="not permuted as one group"):
        run("layer", layer="10")


def test_responses_relative_to_the_average_image():
    known = torch.tensor([[0.0, -3.0, 2.0], [2.0, -1.0, 2.0]])
    found = relative(torch.tensor([[1.0, -1.0, 2.0]]), known)
    np.testing.assert_allclose(found, [[0.0, 1.0, np.nan]])


def test_tuning_and_overlap_count_what_they_say():
    subject = merged("mlp")
    layer = subject.graph.layers[0]
    data = subject.data["test"]
    seen = respond(subject.graph, named_tensors(subject.nets["A"]), layer, data)
    labels = data.labels
    np.testing.assert_allclose(tuning(seen, labels, 6)[1], seen.mean[labels == 1].double().mean(0), atol=1e-6)
    assert tuning(seen, labels, 6)[5].isnan().all()
    np.testing.assert_allclose(overlap(torch.tensor([[1], [2]]), torch.tensor([[2], [3]])), [0.5])


def test_a_network_without_hidden_units_says_so():
    with pytest.raises(InvalidRequest, match="permuted as one group"):
        run("layer", replace(merged(), spec=PermutationSpec(())))
    with pytest.raises(InvalidRequest, match="permuted as one group"):
        run("evidence", replace(merged(), spec=PermutationSpec(())))


def test_a_merge_of_one_network_with_itself_has_reasons_and_no_barrier():
    subject = of("cnn", trained("cnn", 0), trained("cnn", 0))
    found = run("why", subject, images=100, orders=2)
    assert found.total == 0 and found.blocks == ()
    assert "no barrier to explain" in reasons(found, (), corrected=False)
    assert reasons(found, (), corrected=False, networks=3).startswith("3 networks were merged. Below, the parents")
    np.testing.assert_allclose(found.alignment, 1)
    with pytest.raises(IncompatibleModels, match="one line"):
        run("landscape", subject, resolution=5, images=100)


def test_a_third_network_is_looked_at_beside_the_merged_ones():
    with pytest.raises(InvalidRequest, match="no network C"):
        run("similarity", pair="A-C")
    beside = replace(merged(), nets={**merged().nets, "C": merged().nets["B"]})
    other, same = (run("similarity", beside, pair=pair, images=100).maps["cka"].values for pair in ("A-C", "A-B"))
    np.testing.assert_array_equal(other, same)
    with pytest.raises(IncompatibleModels, match="one line"):
        run("landscape", beside, resolution=5, images=50)
    beside = replace(beside, nets={**beside.nets, "C": merged().nets["pi(B)"]})
    third, usual = (run("landscape", subject, resolution=5, images=50) for subject in (beside, merged()))
    assert third.points["C"] == usual.points["pi(B)"] and "pi(B)" not in third.points
    np.testing.assert_array_equal(third.loss, usual.loss)


def test_the_points_of_a_plane_are_measured_as_the_plane_is():
    """With BatchNorm reset everywhere too; on all images, so that their accuracies are those of the merge's report."""
    subject = merged()
    every = subject.data["test"]
    for reset in (True, False):
        found = run("landscape", subject, resolution=5, images=100, reset=reset)
        net = reset_batch_norm(subject.nets["merge"], subject.images(100, "train")) if reset else subject.nets["merge"]
        score = evaluate(net, every)
        assert (found.images, found.point_images) == (100, every.count)
        assert found.points["merge"][3:] == pytest.approx((score.loss, score.accuracy))
        assert (RESET in found.batch_norm) == reset
        a = evaluate(subject.nets["A"], every)
        assert found.points["A"][3:] == pytest.approx((a.loss, a.accuracy))


def test_one_network_has_one_accuracy_in_all_studies():
    subject = merged()
    a, naive = (evaluate(subject.nets[name], subject.data["test"]).accuracy for name in ("A", "naive"))
    why, along = run("why", subject, orders=2, share_images=50), run("along", subject, points=3)
    plane, aligners = run("landscape", subject, resolution=5, images=50, reset=False), run("aligners", subject)
    assert [why.scores["A"].accuracy, along.accuracy["naive"][0], plane.points["A"][4]] == pytest.approx([a] * 3)
    measured = [why.scores["naive"].accuracy, along.accuracy["naive"][1], plane.points["naive"][4]]
    assert [*measured, aligners.scores["none"].accuracy] == pytest.approx([naive] * 4)
