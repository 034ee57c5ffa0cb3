"""The merge task on networks of unequal widths, and on networks whose answers are not numbers."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from merging.errors import MergescopeError
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.jobs.worker.gather import gather_payload
from merging.results import saving
from merging.text.verdicts.merge import headline, verdict
from merging.zoo import catalogue
from merging.zoo.datasets.load import load_split
from tests.jobs.making import merge_request


def run(home, *widths: int):
    """Report and artifacts of an MLP of one width merged with one of another, by optimal transport."""
    models = tuple(ModelRef.of(catalogue.find_entry(f"fashion-mlp-{width}-s0")) for width in widths)
    request = merge_request(models=models, align="optimal-transport", images=200)
    artifacts = run_task("merge", gather_payload(Ledger(home), request, "cpu", 1))
    return saving.load(artifacts["report"]), artifacts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A narrow network mapped onto a wide one."""
    return run(tmp_path_factory.mktemp("home"), 512, 128)


def test_there_is_no_naive_average_between_them(made):
    report, artifacts = made
    assert report.curves.keys() == {"aligned"} and report.scores.keys() == {"A", "B", "merge"}
    assert artifacts.keys() == {"report", "merge.safetensors", "aligned.safetensors", "permutation.npz"}
    assert all(layer.models == ("A", "pi(B)", "merge") for layer in report.units)
    for layer in report.units:
        assert layer.partner.shape == (512,) and layer.partner.max() < 128


def test_each_unit_of_the_narrow_one_is_copied_so_that_it_computes_the_same(made):
    report, _ = made
    assert report.equivalence < 1e-9
    curve = report.curves["aligned"]["test"]
    assert curve.loss[-1] == pytest.approx(curve.ends[1].loss, rel=1e-4)


def test_b_is_compared_as_it_is(made, tmp_path):
    same = made[0].similarity
    assert same.keys() == {"A-B", "A-pi(B)", "A-merge", "B-merge"}
    np.testing.assert_allclose(same["A-B"].values, same["A-pi(B)"].values, rtol=1e-4)  # each unit four times
    mixed = run(tmp_path, 128, 512)[0].similarity
    assert not np.allclose(mixed["A-B"].values, mixed["A-pi(B)"].values, rtol=1e-2)
    np.testing.assert_allclose(mixed["A-B"].values, same["A-B"].values.T, rtol=1e-4)  # whoever is called A


def test_the_words_say_that_widths_differ(made):
    report, _ = made
    assert headline(report).startswith("A and B differ in width, so their weights have no plain average.")
    assert "naive" not in verdict(report)
    broken = dataclasses.replace(report.curves["aligned"]["test"], accuracy=np.full(3, 0.1))
    failed = dataclasses.replace(report, curves={"aligned": {"test": broken}})
    assert headline(failed).endswith("the merge still fails.")


def test_a_merge_of_three_networks_whose_answers_are_not_numbers_is_refused():
    """Finite weights whose products overflow. Accuracies of NaN would be those of the first class."""
    data = catalogue.shipped_file(catalogue.find_entry("fashion-mlp-128-s0").sha256).read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors = {name: value * np.float32(1e18) for name, value in safetensors.numpy.load(data).items()}
    large = safetensors.numpy.save(tensors, metadata)
    models = tuple(
        dataclasses.replace(ModelRef.of(catalogue.find_entry("fashion-mlp-128-s0")), sha256=f"{n}" * 64) for n in "abc"
    )
    request = merge_request(models=models, align="none", images=100)
    images = {split: load_split("fashion-mnist", split, 100) for split in ("train", "test")}
    with pytest.raises(MergescopeError, match=r"The loss of .* is not a number"):
        run_task("merge", Payload(request.to_json(), (large,) * 3, images))
