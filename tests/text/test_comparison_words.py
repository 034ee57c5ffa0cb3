"""What a comparison says about the order of its methods."""

import math

import pytest

from merging.jobs.requests.comparison import row_of
from merging.text.comparison_words import standing
from tests.jobs.making import merge_request

BASE = row_of(merge_request(), "done", None)


def merges(images: float = 1000, **accuracies: list[float]) -> list[dict]:
    """Rows of methods: name of the alignment -> its accuracy per seed."""
    return [
        BASE | {"align": align, "seed": seed, "test_accuracy": value, "test_images": images}
        for align, values in accuracies.items()
        for seed, value in enumerate(values)
    ]


def said(rows) -> str:
    return standing(rows, lambda triple: triple[0])


def test_one_merge_per_method_is_judged_by_the_noise_of_its_images():
    text = said(merges(none=[0.41], cca=[0.88], sinkhorn=[0.90]))
    assert text.startswith(
        "sinkhorn is best here: 90.0 %, with a 95 % interval of 88.0 to 91.7 % on 1,000 test images."
    )
    assert "cca cannot be told from it" in text and "none" not in text
    apart = said(merges(none=[0.41], sinkhorn=[0.90]))
    assert "larger than the noise of these images" in apart
    assert "cca cannot be told from it" not in said(merges(images=10_000, cca=[0.88], sinkhorn=[0.90]))


def test_several_merges_are_compared_cell_by_cell():
    # The cells differ by far more than the methods, which differ by the same amount in every cell.
    steady = said(merges(cca=[0.50, 0.70, 0.90], sinkhorn=[0.52, 0.721, 0.919]))
    assert steady.startswith("sinkhorn has the best mean, over 3 merges. It is above cca by more than chance explains")
    mixed = said(merges(cca=[0.50, 0.72, 0.90], sinkhorn=[0.60, 0.70, 0.89]))
    assert "cca cannot be told from it with so few merges" in mixed and "above" not in mixed


def test_a_method_with_one_common_cell_is_never_called_worse():
    rows = [row for row in merges(none=[0.1, 0.1], cca=[0.9, 0.9]) if (row["align"], row["seed"]) != ("none", 1)]
    assert "none cannot be told from it" in said(rows)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        merges(cca=[0.9]),
        merges(images=math.nan, cca=[0.9], none=[0.1]),
        merges(cca=[math.nan], none=[0.1]),
        merges(cca=[0.9, 0.9], none=[0.1]) + merges(none=[0.2]),  # two merges of the same names and seed
        [row | {"networks": row["align"]} for row in merges(cca=[0.9], none=[0.1])],  # each on networks of its own
        merges(cca=[0.9], none=[0.1]) + [row | {"count": 3} for row in merges(sinkhorn=[0.9])],
    ],
)
def test_no_order_is_claimed_where_there_is_none_to_speak_of(rows):
    assert said(rows) == ""


def test_of_many_only_three_are_named():
    names = ("none", "cca", "sinkhorn", "zipit", "merge-many")
    text = said(merges(**{name: [0.9 - 0.001 * number] for number, name in enumerate(names)}))
    assert "cca, sinkhorn, zipit and 1 more cannot be told from it" in text
