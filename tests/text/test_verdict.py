import dataclasses

import numpy as np
import pytest

from merging.results.reports import LayerInfo, LayerUnits, LossCurve, MergeReport, Metrics
from merging.text.verdicts.merge import headline, verdict, word

LAMBDAS = np.linspace(0, 1, 11)
HUMP = 4 * LAMBDAS * (1 - LAMBDAS)


def curve(fall=0.0, rise=None, ends=(0.91, 0.906), images=2000, split="test"):
    """A path whose accuracy falls by about `fall` and whose loss rises by about `rise` half-way."""
    first, last = (Metrics(1.2 - end, end, 0.02) for end in ends)
    rise = 2.5 * fall if rise is None else rise
    lines = {
        name: (1 - LAMBDAS) * vars(first)[name] + LAMBDAS * vars(last)[name] for name in ("loss", "accuracy", "ece")
    }
    return LossCurve(
        LAMBDAS,
        lines["loss"] + rise * HUMP,
        lines["accuracy"] - fall * HUMP,
        lines["ece"],
        (first, last),
        split,
        images,
    )


def report(naive, aligned, corrected=None, *, moved=5, kind="conv", split="test", **changes):
    curves = {"naive": naive, "aligned": aligned} | ({} if corrected is None else {"corrected": corrected})
    made = MergeReport(
        request={"align": "weight-matching", "combine": "average", "models": [{"classes": ["a"] * 10}] * 2},
        layers=(LayerInfo("0", kind, 8, (4, 4), "0"),),
        groups={"0": (8, moved)},
        equivalence=3e-16,
        curves={name: {split: one} for name, one in curves.items()},
        ensemble={split: Metrics(0.2, 0.92, 0.01)},
    )
    return dataclasses.replace(made, **changes)


def units(scale):
    nothing = np.zeros((3, 4))
    std = np.stack([np.ones(4), np.ones(4), np.full(4, scale)])
    return LayerUnits(
        "0",
        "conv",
        4,
        (),
        np.arange(4),
        np.ones(4),
        std,
        nothing,
        nothing > 1,
        nothing,
        nothing,
        nothing,
        9,
        models=("A", "pi(B)", "merge"),
    )


SAVED = report(curve(0.74), curve(0.01))


def test_the_finding_of_the_field():
    assert headline(SAVED) == (
        "Both nets are equally good, yet their average fails, because their neurons are in a different order. "
        "With B re-ordered, the straight line stays good."
    )
    assert word(SAVED) == "connected"


def test_the_paragraph_holds_the_numbers_of_the_report():
    text = verdict(SAVED)
    assert "Half-way between A (91.0 % right) and B (90.6 %)" in text
    assert "the naive average is right on 16.8 % of the test images and the merge on 89.8 %" in text
    assert "92.0 % at twice the cost" in text
    assert "is 1.85 nats (at λ = .50) for the naive average and .025 nats (at λ = .50) for the merge" in text
    assert "falls at worst 1.0 pp" in text
    assert "linearly connected, once their neurons are in the same order" in text


@pytest.mark.parametrize(
    "fall, expected",
    [
        (-0.01, "connected"),
        (0.019, "connected"),
        (0.021, "partly connected"),
        (0.099, "partly connected"),
        (0.11, "not connected"),
        (0.8, "not connected"),
    ],
)
def test_the_status_follows_the_stated_thresholds(fall, expected):
    flat_ends = (0.9, 0.9)
    assert word(report(curve(0.5, ends=flat_ends), curve(fall, ends=flat_ends))) == expected


def test_a_remaining_barrier_is_not_hidden():
    found = report(curve(0.74), curve(0.04))
    assert headline(found).endswith(
        "With B re-ordered, the merge comes within 4.0 pp of the line between the parents, but a barrier remains."
    )
    assert "only partly connected" in verdict(found)
    failed = headline(report(curve(0.74), curve(0.4)))
    assert failed.endswith("With B re-ordered, the merge does better, but still fails.")
    no_lower = headline(report(curve(0.74), curve(0.4, rise=3)))
    right = "the merge is right more often than the naive average, but its loss is no lower, and it still fails."
    assert no_lower.endswith(right)


def test_what_made_a_merge_no_better_is_named():
    ties = {"align": "none", "combine": "ties", "models": [{"classes": ["a"] * 10}] * 2}
    assert headline(report(curve(0.8), curve(0.8), moved=0, request=ties)).endswith("and TIES did not help.")
    worse = headline(report(curve(0.0), curve(0.5), request={**ties, "align": "weight-matching"}))
    assert worse.endswith("; re-ordering and TIES made it worse.")


def test_a_good_line_whose_loss_rises_is_not_called_good_without_saying_so():
    said = headline(report(curve(0.0, rise=0.5), curve(0.0, rise=0.5)))
    good = "Without any re-ordering, the straight line between A and B is good"
    assert said.startswith(f"{good} in accuracy, though its loss rises by .500 nats")
    own = headline(report(curve(0.0), curve(0.0, rise=0.9)))
    assert own == f"{good}; along the merge's own path the loss rises by .900 nats."
    unequal = dataclasses.replace(SAVED, curves={"aligned": {"test": curve(0.0, rise=0.9)}})
    assert headline(unequal).endswith(
        "the path between them stays good in accuracy, though its loss rises by .900 nats."
    )


def test_no_better_than_naive_is_said_and_what_to_try():
    found = report(curve(0.8), curve(0.79), notes={"trace": {"batch_norms": 3}})
    assert headline(found).endswith("yet their average fails, and re-ordering did not help.")
    assert "BatchNorm reset or REPAIR" in verdict(found)
    assert "Re-ordering alone did not help here." in verdict(found)
    assert "this merge does not connect them" in verdict(found)
    assert "because" not in headline(found)


def test_shrunken_units_are_named_where_nothing_was_corrected():
    shrunk = report(curve(0.8), curve(0.3), units=(units(0.4),))
    assert "merge's units is .40 times the parents'" in verdict(shrunk)
    assert "REPAIR" in verdict(shrunk)
    assert "REPAIR" not in verdict(report(curve(0.8), curve(0.3), units=(units(0.95),)))
    assert "REPAIR" not in verdict(report(curve(0.8), curve(0.01), units=(units(0.4),)))
    assert "REPAIR" not in verdict(report(curve(0.8), curve(0.7), curve(0.3), units=(units(0.4),)))


def test_a_correction_gets_the_credit_that_it_earns():
    mostly = report(curve(0.8), curve(0.6), curve(0.01))
    assert headline(mostly).endswith(
        "their average fails. With B re-ordered and the average corrected, the path between them stays good."
    )
    earned = report(curve(0.8), curve(0.3), curve(0.01))
    assert headline(earned).endswith(
        "in a different order. With B re-ordered and the average corrected, the path between them stays good."
    )
    idle = report(curve(0.8), curve(0.01), curve(0.01))
    assert headline(idle).endswith("With B re-ordered, the straight line stays good.")
    alone = report(curve(0.8), curve(0.79), curve(0.01))
    assert "because" not in headline(
        alone
    )  # re-ordering alone changed nothing, so the order is not shown to be the cause
    assert "merge before correction" in verdict(earned)
    assert "once their neurons are in the same order and the average is corrected" in verdict(earned)
    assert "and the average is corrected" not in verdict(idle)
    assert "corrected at its ends too" in verdict(earned)


def test_a_correction_that_hurts_is_said():
    found = report(curve(0.8), curve(0.01), curve(0.2))
    assert "The correction made the half-way net worse" in verdict(found)
    assert "The correction made" not in verdict(report(curve(0.8), curve(0.2), curve(0.01)))


def test_a_path_that_is_already_good():
    found = report(curve(0.005), curve(0.004), moved=0)
    assert headline(found).startswith("Without any re-ordering, the straight line between A and B is good")
    assert "once their neurons" not in verdict(found)
    spoilt = report(curve(0.005), curve(0.3))
    assert headline(spoilt).endswith("re-ordering made it worse.")


def test_a_network_with_itself_and_with_a_permuted_twin():
    flat = curve(0, ends=(0.9, 0.9))
    assert "nothing to merge" in headline(report(flat, flat, moved=0))
    assert headline(report(curve(0.7, ends=(0.9, 0.9)), flat)).startswith("B is A with its neurons in another order")


def test_unequal_parents_are_not_called_equal():
    ends = (0.7, 0.9)
    found = report(curve(0.5, ends=ends), curve(0.0, ends=ends))
    assert headline(found).startswith("B is better than A, yet their average fails")
    assert "less accurate than the better one" in verdict(found)
    assert word(found) == "connected"  # the worse parent itself is no barrier
    swapped = report(curve(0.5, ends=ends[::-1]), curve(0.0, ends=ends[::-1]))
    assert headline(swapped).startswith("A is better than B")


def test_nets_that_guess_are_not_interpreted():
    ends = (0.1, 0.12)
    assert "hardly better than guessing" in headline(report(curve(0.02, ends=ends), curve(0.01, ends=ends)))
    unknown = report(curve(0.05, ends=ends), curve(0.0, ends=ends), request={})
    assert "guessing" not in headline(unknown)


def test_a_path_that_is_not_straight_is_not_called_straight():
    found = report(curve(0.7), curve(0.01), request={"combine": "slerp"})
    assert "With B re-ordered and the nets merged by SLERP, the path stays good." in headline(found)
    assert "linearly" not in verdict(found)


def test_neurons_that_stayed_where_they_were():
    found = report(curve(0.7), curve(0.7), moved=0)
    assert headline(found).endswith("; neither an alignment nor a correction was chosen.")
    assert "Try an alignment that moves them" in verdict(found)
    corrected = report(curve(0.7), curve(0.7), curve(0.01), moved=0)
    assert (
        headline(corrected)
        == "Both nets are equally good, yet their average fails. With the average corrected, the path between them "
        "stays good."
    )
    assert "the two are connected, once the average is corrected." in verdict(corrected)
    assert "linearly" not in verdict(corrected)  # the line itself has a barrier


def test_a_good_line_does_not_show_that_the_order_is_agreed_on():
    assert "agree on the order" not in headline(report(curve(0.01), curve(0.01)))
    assert "agree on the order" in headline(report(curve(0.01), curve(0.01), moved=0))


def test_one_path_is_named_once():
    text = verdict(report(curve(0.0), curve(0.0), moved=0))
    assert "the average is right on" in text
    assert "naive average" not in text


def test_few_images_are_an_uncertainty():
    assert "measured on 100 images only: accuracies are uncertain by about 6.1 pp" in verdict(
        report(curve(0.7, images=100), curve(0.01, images=100))
    )
    assert "images only" not in verdict(SAVED)


def test_without_images_nothing_is_claimed():
    found = report(curve(), curve(), curves={}, ensemble={}, missing="No images of this data set are on this machine.")
    assert word(found) == "not measured"
    assert "was not measured" in headline(found)
    text = verdict(found)
    assert text.startswith("No images of this data set are on this machine.")
    assert "5 of 8 units of B changed position, which changed B's outputs by 3e−16 of their size." in text
    assert "0 of 0 units" in verdict(dataclasses.replace(found, groups={}))


def test_the_training_images_are_read_where_there_are_no_others():
    found = report(curve(0.74, split="train"), curve(0.01, split="train"), split="train")
    assert "of the train images" in verdict(found)


def test_a_path_that_stays_below_its_ends_does_not_rise():
    found = report(curve(0.7), curve(-0.01, rise=-0.02))
    assert "none for the merge" in verdict(found)
    assert "falls at worst 0.0 pp" in verdict(found)


def test_maps_are_not_called_a_re_ordering():
    known = report(curve(0.4), curve(0.01))
    mixed = dataclasses.replace(known, request={**known.request, "align": "cca"})
    assert "With B mapped onto A's units, the" in headline(mixed)
    assert "in a different order" not in headline(mixed)


def test_units_that_were_mixed_are_judged_half_way_only_where_the_path_does_not_end_at_b():
    """Optimal transport of equal widths is a permutation: its path is judged all along, as any other."""
    lower = dataclasses.replace(curve(0.0), accuracy=np.linspace(0.91, 0.5, 11))
    asked = {**report(curve(0.5), lower).request, "align": "optimal-transport"}
    exact, mixed = (report(curve(0.5), lower, request=asked, equivalence=error) for error in (1e-12, 0.4))
    assert "at worst 40.6 pp below the straight line" in verdict(exact) and "does not end at B" not in verdict(exact)
    assert "below the parents' mean half-way" in verdict(mixed) and "the path does not end at B" in verdict(mixed)
