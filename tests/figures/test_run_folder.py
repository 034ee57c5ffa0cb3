"""A run as a folder, and the papers of its methods."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest

from merging.figures.run_folder import run_folder, zipped
from merging.methods.registry import ROLES, table
from merging.text.bibliography import bibtex
from tests.figures.made import report
from tests.jobs.making import merge_request


def test_the_folder_holds_every_number_by_part():
    known = report(json.loads(merge_request(correct="repair").to_json()), corrected=True)
    files = run_folder("A run", known, {"In Python": "result = merge([a, b])"})
    assert "result = merge([a, b])" in files["README.md"].decode()
    rows = list(csv.DictReader(io.StringIO(files["curves.csv"].decode())))
    test = [float(row["loss"]) for row in rows if (row["path"], row["split"]) == ("naive", "test")]
    np.testing.assert_array_equal(test, known.curves["naive"]["test"].loss)
    np.testing.assert_array_equal(json.loads(files["curves.json"])["naive"]["test"]["loss"], test)
    assert set(json.loads(files["report.json"])) & {"curves", "similarity", "units"} == set()
    assert {f"similarity-{key}.csv" for key in known.similarity} <= set(files)
    figures = [name for name in files if name.startswith("figures/")]
    assert len(figures) == 2 * (6 + 4 + 1) and all(files[name] for name in figures)
    with zipfile.ZipFile(io.BytesIO(zipped(files, "run"))) as archive:
        assert {name.removeprefix("run/") for name in archive.namelist()} == set(files)


def test_without_images_the_folder_has_what_there_is():
    files = run_folder("A run", report(json.loads(merge_request().to_json()), images=False), {})
    assert {"README.md", "report.json", "methods.bib", "units.json"} == set(files)
    listed = set(re.findall(r"`([\w*-]+\.\w+|figures/)`", files["README.md"].decode()))
    assert listed == {"report.json", "methods.bib", "units.json"}


@pytest.mark.parametrize(
    ("methods", "keys"),
    [
        ({}, ["ainsworth2023git"]),
        ({"align": "none"}, ["ainsworth2023git"]),
        (
            {"align": "sinkhorn", "combine": "slerp", "correct": "repair"},
            ["pena2023re", "shoemake1985animating", "jordan2023repair"],
        ),
        ({"correct": "batch-norm-reset"}, ["ainsworth2023git", "izmailov2018averaging", "jordan2023repair"]),
    ],
)  # fmt: skip
def test_each_paper_of_the_methods_has_one_entry(methods, keys):
    text = bibtex({"align": "weight-matching", "combine": "average", "correct": "none", **methods})
    assert [line.removeprefix("@misc{").rstrip(",") for line in text.splitlines() if line.startswith("@")] == keys
    assert text.count("{") == text.count("}")


def test_every_method_but_the_baselines_names_a_paper_that_can_be_read():
    from merging.text.bibliography import _PAPER

    for role in ROLES:
        for method in table(role).values():
            assert method.key == "none" or _PAPER.match(method.paper.split("; ")[0]), method.paper
