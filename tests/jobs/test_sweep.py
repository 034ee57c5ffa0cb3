"""Sweeps: plan, laws of their parts, statistics, and a whole sweep in processes of this machine."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from merging.cli.commands.sweep import sweep_request
from merging.cli.main import parser
from merging.cli.options import Options
from merging.errors import InvalidRequest, MergescopeError
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import MOST_ROWS, SweepRequest
from merging.jobs.requests.train import TrainRequest
from merging.jobs.sweeps.axes import LAMBDA, USUAL_WIDTHS, find_axis, sweep_axes, with_depth, with_width
from merging.jobs.sweeps.cost import cheaper
from merging.jobs.sweeps.plan import cells_of, checked_sweep, no_network, trainings
from merging.results.intervals import student, t95
from merging.results.sweep_report import SweepRow, marks, spearman, trends
from merging.text.sweep_words import describe_trends, merges_done, sweep_command, unfinished_parts
from merging.zoo.architectures.table import build
from merging.zoo.datasets.fingerprint import fingerprint

HASH = "a" * 64
DATA = "fashion-mnist"  # its first images come with the program
IMAGES = 200


def sweep(**changes) -> SweepRequest:
    values = {
        "architecture": "mlp",
        "config": {"widths": [8, 8]},
        "dataset": DATA,
        "data_sha256": HASH,
        "merge_sha256": {str(count): HASH for count in (IMAGES, 1000)},
        "axes": (("width", (4, 8)),),
        "groups": 2,
        "epochs": 1,
        "images": IMAGES,
        "points": 3,
    }
    return SweepRequest(**{**values, **changes})


def real(**changes) -> SweepRequest:
    """A sweep whose images are on this machine."""
    counts = {str(count): fingerprint(DATA, count) for count in (IMAGES, 300)}
    usual = {"data_sha256": fingerprint(DATA, None), "merge_sha256": counts, "settings": {"share": 0.1}}
    return sweep(**{**usual, **changes})


# The plan.


def test_a_request_survives_json_and_every_axis_sorts_its_numbers():
    request = sweep(axes=(("lr", (0.01, 0.001)), ("optimiser", ("sgd", "adam"))))
    assert from_json(request.to_json()) == request
    assert request.axes == (("lr", (0.001, 0.01)), ("optimiser", ("sgd", "adam")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": ()}, "one axis, or two"),
        ({"axes": (("width", (4,)), ("width", (8,)))}, "one axis, or two"),
        ({"axes": (("hue", (4,)),)}, "no axis 'hue'"),
        ({"axes": (("width", ()),)}, "1 to 32 values"),
        ({"axes": (("width", (4, 8, 4)),)}, "the value 4 is given twice"),
        ({"axes": (("width", (0,)),)}, "not between 1 and"),
        ({"axes": (("width", (4.5,)),)}, "not a whole number"),
        ({"axes": (("lr", (math.nan,)),)}, "not between"),
        ({"axes": (("optimiser", ("lion",)),)}, "none of adamw"),
        ({"axes": (("epoch", (1,)), ("epochs", (1,)))}, "not both"),
        ({"settings": {"part": 1}}, "its own part"),
        ({"aligns": ()}, "at least one method under Align"),
        ({"groups": 20, "seeds": 10, "axes": (("width", tuple(range(1, 11))),)}, str(MOST_ROWS)),
        ({"images": 555}, "hash of the first 555 images is missing"),
        *(
            ({"config": {"widths": widths}}, "widths of mlp takes")
            for widths in ("64x64", [8, 0], [8.5], [True], None, [[8]])
        ),
        ({"config": {"widths": 8}}, "takes a list of widths.*got 8"),
        ({"config": {}}, "takes a list of widths.*there are none"),
        ({"config": {"widths": [8], "classes": 3}}, "have classes 10, as Fashion-MNIST needs"),
        ({"config": {"widths": [8], "in_shape": [3, 32, 32]}}, "have in_shape"),
        ({"networks": 1}, "networks must be a whole number"),
        ({"axes": (("lambda", (0.3,)),), "points": 5}, "no λ = 0.3. Choose multiples of 0.25"),
        ({"axes": (("lambda", (0.5,)),), "networks": 3}, "Only two networks"),
        ({"axes": (("lambda", (0.5,)), ("networks", (2, 3)))}, "Only two networks"),
        ({"axes": (("lambda", (0.5,)),), "studies": ("why",)}, "not one λ"),
        ({"studies": ("why", "why")}, "at most once: ablation"),
        ({"studies": ("fate",)}, "at most once: ablation"),
    ],
)
def test_an_impossible_sweep_is_refused_with_the_reason(changes, words):
    with pytest.raises(MergescopeError, match=words):
        sweep(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "vgg11", "config": {}}, "fixed widths"),
        ({"architecture": "resnet", "config": {"widths": [8, 16, 32]}, "axes": (("depth", (2,)),)}, "depth"),
        ({"combines": ("task-arithmetic",)}, "base network"),
        ({"axes": (("lora", (0, 2)),)}, "trained already"),
    ],
)
def test_a_sweep_whose_parts_are_impossible_is_refused_before_it_starts(changes, words):
    with pytest.raises(MergescopeError, match=words):
        checked_sweep(sweep(**changes))


def test_networks_of_all_points_have_the_same_seeds_and_more_groups_keep_the_old_ones():
    two, three = (cells_of(sweep(groups=groups)) for groups in (2, 3))
    seeds = {cell.values: [one.training.seed for one in cell.networks] for cell in three if cell.group == 2}
    assert seeds == {(4,): [4, 5], (8,): [4, 5]}
    ids = [{one.training.id for cell in every for one in cell.networks} for every in (two, three)]
    assert len(ids[0]) == 8 and ids[0] < ids[1]


def test_a_training_of_a_sweep_is_the_same_request_as_one_asked_for_by_itself():
    config = {"widths": [4, 4], "in_shape": [1, 28, 28], "classes": 10}
    alone = TrainRequest("mlp", config, DATA, HASH, 1, 0)
    assert alone.id in {request.id for request in trainings(sweep(), lambda training, epoch: None)}


def test_widths_and_depths_change_in_proportion():
    assert with_width("mlp", {"widths": [32, 64, 128]}, 8)["widths"] == [8, 16, 32]
    assert with_width("mlp", {"widths": [512, 8]}, 4)["widths"] == [4, 1]
    assert with_depth("mlp", {"widths": [32, 16]}, 4)["widths"] == [32, 16, 16, 16]
    assert with_depth("mlp", {"widths": [32, 16]}, 1)["widths"] == [32]


@pytest.mark.parametrize("architecture", USUAL_WIDTHS)
def test_widths_that_a_configuration_leaves_out_are_those_of_the_architecture(architecture):
    width = next(iter(with_width(architecture, {}, 16).values()))
    facts = {"in_shape": (1, 28, 28), "classes": 10}
    usual, written = (
        build(architecture, {**facts, **config}, (0.5,), (0.5,), seed=0)
        for config in ({}, with_width(architecture, {}, 16))
    )
    assert width in (16, [16, 32, 64])
    assert {name: value.shape for name, value in usual.state_dict().items()} == {
        name: value.shape for name, value in written.state_dict().items()
    }


def test_networks_of_a_split_learn_different_parts_and_a_common_start_learns_all():
    split = cells_of(sweep(settings={"split": "halves"}, common=2, networks=3))[0].networks
    assert [one.training.settings.get("part", 0) for one in split] == [0, 1, 0]
    assert split[0].base == split[2].base and "split" not in split[0].base.settings
    low = cells_of(sweep(settings={"lora": 2}, common=2))[0].networks[0]
    assert "lora" not in low.base.settings and low.training.settings["lora"] == 2
    assert split[0].base.epochs == 2 and split[0].base.seed not in {one.training.seed for one in split}


def test_epochs_are_read_along_one_training():
    every = cells_of(sweep(axes=(("epoch", (0, 2, 4)),)))
    mine = [cell for cell in every if cell.group == 0]
    assert len({one.training.id for cell in mine for one in cell.networks}) == 2
    assert mine[0].networks[0].training.keep == (0, 2) and mine[0].networks[0].training.epochs == 4
    assert [cell.networks[0].epoch for cell in mine] == [0, 2, None]


def test_lambdas_share_one_merge_and_do_not_change_the_trainings():
    every = cells_of(sweep(axes=(("width", (4, 8)), ("lambda", (0.0, 0.5, 1.0)))))
    assert len(every) == 12 and len({cell.merge for cell in every}) == 4
    assert [cell.at for cell in every if cell.values[0] == 4 and cell.group == 0] == [0.0, 0.5, 1.0]
    ids = [{one.training.id for cell in cells_of(request) for one in cell.networks} for request in (sweep(), sweep(
        axes=(("width", (4, 8)), ("lambda", (0.5,)))
    ))]  # fmt: skip
    assert ids[0] == ids[1]
    assert "points" not in cheaper(sweep(axes=(("lambda", (0.1,)),), points=11))


def test_a_sweep_asked_for_before_there_were_studies_keeps_its_id():
    values = json.loads(sweep().to_json())
    del values["studies"], values["first_group"]
    assert from_json(json.dumps(values)).id == sweep().id
    assert sweep().id.startswith("cdaf18899fe93089")
    assert sweep(studies=("why",)).id != sweep().id


def test_a_setting_of_methods_reaches_the_methods_that_have_it():
    request = sweep(axes=(("align.restarts", (1, 3)),), aligns=("none", "weight-matching"))
    settings = {(cell.values, cell.triple[0]): cell.settings for cell in cells_of(request)}
    assert settings[(3,), "weight-matching"] == {"align": {"restarts": 3}} and settings[(3,), "none"] == {}


@pytest.mark.parametrize("key", sweep_axes())
def test_every_axis_takes_the_values_that_the_form_offers(key):
    axis = find_axis(key)
    assert axis.label and axis.help
    for value in axis.usual:
        assert axis.checked(value) == value and axis.read(str(value)) == value


def test_a_start_must_have_the_same_structure():
    other = TrainRequest("mlp", {"widths": [4], "in_shape": [1, 28, 28], "classes": 10}, DATA, HASH)
    with pytest.raises(InvalidRequest, match="same structure"):
        TrainRequest("mlp", {"widths": [5]}, DATA, HASH, start=no_network(other, None))


# Statistics.


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_intervals_and_rank_correlations_are_those_of_scipy(values, others):
    mean, low, high = student(values)
    if np.std(values) > 1e-6:
        below, above = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        half = above - mean  # of a bound near 0, a relative error says nothing
        assert (mean - low, high - mean) == pytest.approx((half, half), rel=1e-6) and mean == pytest.approx(
            np.mean(values)
        )
        assert mean - below == pytest.approx(half)
    short = others[: len(values)]
    if len(set(values)) > 1 and len(set(short)) > 1:
        assert spearman(values, short) == pytest.approx(stats.spearmanr(values, short).statistic)
    else:
        assert math.isnan(spearman(values, short))


@pytest.mark.parametrize("freedom", range(1, 60))
def test_half_widths_of_the_t_distribution(freedom):
    assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-5)


def row(x, group, barrier, seed=0) -> SweepRow:
    measures = {"barrier_mean": barrier, "naive_barrier_mean": 1.0, "accuracy": 0.5}
    return SweepRow((x,), ("weight-matching", "average", "none"), group, seed, "done", "f" * 64, measures)


def test_means_go_over_method_seeds_first_and_then_over_groups():
    points = marks([row(4, 0, 1.0), row(4, 0, 3.0, seed=1), row(4, 1, 4.0)], "barrier_mean")
    assert points[0].mean == 3.0 and points[0].by_group == {0: 2.0, 1: 4.0}
    assert points[1].triple[0] == "naive" and points[1].mean == 1.0


def test_points_along_a_path_are_counted_as_one_merge():
    along = sweep(axes=((LAMBDA, (0.0, 0.5, 1.0)),))
    states = {0: "done", 1: ""}
    rows = [replace(row(x, 0, 1.0, seed), state=state) for seed, state in states.items() for x in (0.0, 0.5, 1.0)]
    assert merges_done(along, rows) == unfinished_parts(along, rows) == "1 of 2 merges"
    assert merges_done(sweep(), rows) == "3 of 6 merges"


def test_a_trend_says_in_how_many_groups_and_no_more():
    falling = [row(x, group, -x + group) for x in (4, 8, 16) for group in (0, 1)]
    assert trends(marks(falling, "barrier_mean"))[0].mean == -1.0
    words = describe_trends(sweep(), falling, "barrier_mean")
    assert len(words) == 1  # the naive average is the same everywhere: it has no trend
    assert "falls" in words[0] and "in all 2 groups (mean Spearman −1.00)" in words[0]
    mixed = [row(x, group, (x if group else -x)) for x in (4, 8, 16) for group in (0, 1, 2)]
    assert "falls in 1 and rises in 2 of 3 groups" in describe_trends(sweep(), mixed, "barrier_mean")[0]
    assert not describe_trends(sweep(), falling[:4], "barrier_mean")  # two points are no trend
    flat = [row(x, 0, height) for x, height in ((4, 1.0), (8, 3.0), (16, 2.0), (32, 1.5))]
    assert "has no clear trend" in describe_trends(sweep(), flat, "barrier_mean")[0]


def test_the_command_of_a_sweep_gives_the_same_sweep():
    studies = ("why", "evidence")
    request = real(axes=(("lr", (0.001, 0.01)),), aligns=("none", "weight-matching"), seeds=2, studies=studies)
    options = Options.of(parser().parse_args(shlex.split(sweep_command(request, "2"))[3:]))
    assert sweep_request(options).id == request.id
    assert options.threads == 2 and "--threads" not in sweep_command(request)


def test_a_cheaper_version_only_lowers_numbers():
    request = sweep(epochs=9, groups=3, images=1000, points=25, seeds=2)
    assert cheaper(request) == {"groups": 1, "seeds": 1, "epochs": 2, "images": 500, "points": 5}
    assert cheaper(sweep(groups=1)) == {}
