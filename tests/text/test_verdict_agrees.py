"""Verdicts do not contradict the numbers that stand beside them."""

import dataclasses

from merging.text.verdicts.merge import headline, verdict
from tests.text.test_verdict import curve, report


def test_a_path_of_its_own_between_nets_that_are_connected_anyway_does_not_deny_it():
    """Such as TIES between experts of one base: headline and paragraph agree on the straight line."""
    found = report(curve(0.0), curve(0.01), moved=0)
    found = dataclasses.replace(found, request={**found.request, "align": "none", "combine": "ties"})
    assert headline(found).startswith("Without any re-ordering, the straight line between A and B is good")
    assert "as good as the straight line" in verdict(found) and "though by a path" not in verdict(found)


def test_a_path_that_keeps_its_accuracy_but_not_its_loss_is_not_simply_good():
    found = report(curve(0.74), curve(0.01, rise=0.24))
    assert headline(found).endswith("the straight line stays good in accuracy, though its loss rises by .240 nats.")
    assert headline(report(curve(0.74), curve(0.01, rise=0.05))).endswith("the straight line stays good.")


def test_a_fall_just_beyond_the_threshold_is_told_apart_from_it():
    text = verdict(report(curve(0.74, ends=(0.9, 0.9)), curve(0.0203, ends=(0.9, 0.9))))
    assert "falls at worst 2.03 pp below" in text and "more than the 2.0 pp that" in text


def test_few_images_that_leave_the_conclusion_open_are_said_to():
    open_, clear = (report(curve(0.74, images=500), curve(fall, images=500)) for fall in (0.01, 0.6))
    assert "so that more images may change the conclusion" in verdict(open_)
    assert "uncertain by about" in verdict(clear) and "may change the conclusion" not in verdict(clear)


def test_an_average_about_as_good_as_the_worse_parent_does_not_fail():
    ends = (0.884, 0.736)
    assert "yet their average is worse" in headline(report(curve(0.11, ends=ends), curve(0.01, ends=ends)))
    assert "yet their average fails" in headline(report(curve(0.4, ends=ends), curve(0.01, ends=ends)))
