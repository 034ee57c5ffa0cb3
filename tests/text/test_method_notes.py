"""What a run says of its methods: true to the notes, for every method there is."""

import numpy as np
import pytest
import torch
from torch import nn

from merging.figures.account import course_figure
from merging.methods.registry import ROLES, Method, table
from merging.pipeline.merge import merge
from merging.results.reports import MergeReport
from merging.text.method_notes import accounts, remarks
from tests.figures.made import alt_text, validated
from tests.nets.pairs import CLASSES, blobs, make, trained

PIXELS = 64
QUICK = {"straight-through": {"steps": 4, "batch": 50}, "sinkhorn": {"steps": 4}, "non-uniform": {"batch": 50}}
METHODS = [method for role in ROLES for method in table(role).values()]


def told(*models, base=None, settings=None, **wishes):
    """The accounts of a merge of small nets."""
    wishes.setdefault("align", "none")
    settings = {role: QUICK[key] for role, key in wishes.items() if key in QUICK} | (settings or {})
    notes = merge(
        models or [trained("mlp", 0), trained("mlp", 1)], data=blobs(300), base=base, settings=settings, **wishes
    ).notes
    request = {role: wishes.get(role, {"combine": "average"}.get(role, "none")) for role in ROLES}
    return accounts(MergeReport(request, (), {}, 0.0, notes=dict(notes)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.role}-{method.key}")
def test_every_method_gives_an_account_of_itself(method: Method) -> None:
    more = {"base": make("mlp", 2)} if method.needs_base else {}
    found = [one for one in told(**{method.role: method.key}, **more) if one.role == method.role]
    assert {one.label for one in found} == {method.label}
    assert all(one.summary == method.summary for one in found)
    silent = {("align", "none"), ("combine", "average"), ("combine", "slerp"), ("correct", "none")}
    assert all(bool(one.sentences) != ((method.role, method.key) in silent) for one in found)
    for course in (course for one in found for course in one.courses):
        drawn = validated(course_figure(course))
        assert len(drawn.data[0].y) == len(course.y) == len(course.x)
        assert course.title in alt_text(drawn)
        if course.chosen is not None:
            assert (drawn.data[1].x[0], drawn.data[1].y[0]) == (course.x[course.chosen], course.y[course.chosen])


def test_restarts_tell_their_spread() -> None:
    align = told(align="weight-matching")[0]
    assert "repeated 5 times with other orders" in " ".join(align.sentences)
    assert align.courses[0].x[0] == 1


@pytest.mark.parametrize(("role", "key"), [("align", "cca"), ("align", "zipit"), ("combine", "non-uniform")])
def test_what_was_chosen_on_held_out_images_is_named_with_its_curve(role: str, key: str) -> None:
    account = next(one for one in told(**{role: key}) if one.role == role)
    course = next(course for course in account.courses if course.title == "What was tried")
    assert course.y[course.chosen] == min(course.y)
    words = " ".join(account.sentences)
    assert (
        "training images held out" in words
        and "The method used 150 training images, and 150 others to choose the best result." in words
    )
    for value in course.words[course.chosen].split(", "):
        assert value in words


def test_a_setting_that_was_given_is_not_called_chosen() -> None:
    account = told(align="cca", settings={"align": {"gamma": 0.5}})[0]
    assert "Gamma 0.5, as requested." in account.sentences and not account.courses
    learned = told(combine="non-uniform", settings={"combine": {"rate": 1.0, "epochs": 3, "batch": 50}})[1]
    course = learned.courses[0]
    assert course.chosen == 3
    assert (course.y[3] == min(course.y)) == ("as requested" not in learned.sentences[0])


@pytest.mark.parametrize("key", ["activation-matching", "cca", "zipit"])
def test_methods_that_look_at_images_say_how_many_and_how_steady_the_answer_is(key: str) -> None:
    words = " ".join(told(align=key)[0].sentences)
    assert "training images" in words and "the same result from both halves of the images" in words


def test_what_was_learned_from_the_same_images_is_not_called_steady_in_them() -> None:
    words = " ".join(told(align="straight-through")[0].sentences)
    assert "on each half of the held-out images separately" in words and "more images" not in words


def test_shares_of_units_weigh_groups_by_their_units() -> None:
    notes = {"align": {"stable": {"a": 1.0, "b": 0.5}}}
    request = {"align": "activation-matching", "combine": "average", "correct": "none"}
    found = accounts(MergeReport(request, (), {"a": (10, 0), "b": (90, 0)}, 0.0, notes=notes))
    assert "55.0 % of the units" in found[0].sentences[0]


def test_networks_taken_in_turns_have_an_account_each() -> None:
    found = told(*(make("mlp", seed) for seed in range(3)), align="weight-matching")
    assert [(one.role, one.model) for one in found] == [
        ("align", "B"),
        ("align", "C"),
        ("combine", ""),
        ("correct", ""),
    ]


def test_a_long_course_is_thinned_and_keeps_what_was_chosen() -> None:
    course = told(align="weight-matching")[0].courses[0]
    many = tuple(map(float, np.arange(5001)))
    drawn = validated(course_figure(type(course)("t", "step", "loss", many, many, chosen=4999)))
    assert len(drawn.data[0].x) <= 502 and 4999 in drawn.data[0].x


def report_of(*models) -> MergeReport:
    """A report with the notes and groups of a merge of these networks by weight matching."""
    made = merge(models, data=blobs(300))
    groups = {name: (len(p), 0) for name, p in made.alignment.permutations[1].items()}
    return MergeReport({}, (), groups, 0.0, notes=dict(made.notes))


def test_usual_networks_need_no_remark() -> None:
    assert remarks(report_of(trained("mlp", 0), trained("mlp", 1))) == ()


def test_a_softmax_at_the_end_is_said() -> None:
    (said,) = remarks(report_of(*(nn.Sequential(make("mlp", seed), nn.Softmax(1)) for seed in (0, 1))))
    assert "softmax" in said


class Scaled(nn.Module):
    """An MLP before which every unit of a layer has a constant of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.net = make("mlp", seed)
        self.first = nn.Linear(PIXELS, PIXELS)
        self.register_buffer("grid", torch.linspace(0.5, 1.5, PIXELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (n, 1, 8, 8)."""
        return self.net((self.first(x.flatten(1)) * self.grid).relu().view(x.shape))


def test_units_that_keep_their_order_are_named_with_their_constant() -> None:
    said = " ".join(remarks(report_of(Scaled(0), Scaled(1))))
    assert "order" in said
    assert "grid" in said


@pytest.mark.parametrize("align", [key for key in table("align") if key != "none"])
def test_networks_without_hidden_units_are_averaged_as_they_are_and_that_is_said(align: str) -> None:
    models = [nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES)) for _ in range(2)]
    made = merge(models, align=align, data=blobs(300))
    report = MergeReport({"align": align}, (), {}, 0.0, notes=dict(made.notes))
    assert "nothing to align" in " ".join(remarks(report))
    assert torch.allclose(made.merged[1].weight, (models[0][1].weight + models[1][1].weight) / 2)
