"""Bringing networks, in a real browser: a pair of exported programs to the download, an old file that is a question."""

from __future__ import annotations

import io
import re

import pytest
import torch

from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from tests.browser.test_journeys import STILL, choose, go, set_number

SEEDS = [catalogue.find_entry(f"fashion-small-s{seed}") for seed in (0, 1)]


def plain(entry):
    """The network as its owner has it: without our first step, so that it takes normalised images."""
    checkpoint = load_checkpoint(catalogue.shipped_file(entry.sha256))
    net = build(checkpoint.architecture, checkpoint.config)
    net.load_state_dict(checkpoint.state)
    return net.eval()


def bring(page, *files):
    """Upload these files (name, bytes) on Models as networks for Fashion-MNIST, up to what was made of them."""
    go(page, "/models")
    page.get_by_text("Upload networks").click()
    page.get_by_text("The network in each file").wait_for()
    choose(page, "Trained on", "Fashion-MNIST")
    given = [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files]
    page.locator("input[type=file]").first.set_input_files(given)
    page.get_by_text(files[-1][0][:6]).first.wait_for()
    check = page.get_by_role("button", name="Check", exact=True)
    check.wait_for()
    page.wait_for_selector(STILL)
    check.click()


@pytest.fixture(scope="module")
def programs():
    """Two networks as .pt2 files, exported as the page says."""
    files = []
    for seed, entry in enumerate(SEEDS):
        x, out = torch.rand(2, 1, 28, 28), io.BytesIO()
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(plain(entry), (x,), dynamic_shapes=shapes), out)
        files.append((f"mine-{seed}.pt2", out.getvalue()))
    return files


def test_a_pair_of_exported_programs_is_brought_merged_and_taken_home(visitor, programs, tmp_path):
    bring(visitor, *programs)
    visitor.get_by_text(
        re.compile(r"89\.0 % of 500 test images, .* with Fashion-MNIST's mean and std")
    ).first.wait_for()
    visitor.get_by_role("button", name="Add 2 networks").click()
    visitor.get_by_text(re.compile("^Added: Exported program")).wait_for()
    go(visitor)
    for letter, (name, _) in zip("AB", programs, strict=True):
        choose(visitor, f"Network {letter}", name.removesuffix(".pt2"))
    for label, value in (("Points", 3), ("Images", 100)):
        set_number(visitor, label, value)
    visitor.get_by_role("button", name="Run merge").click()
    bar = visitor.locator(".st-key-runbar").filter(has_text="mine-0")  # an example's may stand there before
    bar.get_by_role("button", name="Downloads").wait_for()
    visitor.wait_for_selector(STILL)
    bar.get_by_role("button", name="Downloads").click()
    with visitor.expect_download() as download:
        visitor.get_by_role("button", name=re.compile("Merged network, exported program")).click()
    path = tmp_path / "merge.pt2"
    download.value.save_as(path)
    merged = torch.export.load(str(path)).module()
    assert set(merged.state_dict()) == set(plain(SEEDS[0]).state_dict()), "the person's own tensor names"
    images = torch.rand(7, 1, 28, 28)
    assert merged(images).shape == (7, 10), "any number of images"
    assert not torch.allclose(merged(images), plain(SEEDS[0])(images))


def test_an_old_file_that_says_nothing_of_its_wiring_is_a_question(visitor):
    net = plain(catalogue.find_entry("fashion-mlp-128-s1"))
    out = io.BytesIO()
    nested = {"epoch": 8, "model_state": {f"module.{name}": value for name, value in net.state_dict().items()}}
    torch.save(nested, out, _use_new_zipfile_serialization=False)
    bring(visitor, ("old.pth", out.getvalue()))
    visitor.get_by_text(re.compile("7 networks fit these tensors")).wait_for()
    add = visitor.get_by_role("button", name="Add this network")
    assert add.is_disabled()
    visitor.get_by_text("MLP 3×128 · ReLU", exact=True).click()
    visitor.wait_for_selector(STILL)
    add.click()
    visitor.get_by_text(re.compile("^Added: MLP 3×128")).wait_for()
    visitor.get_by_text(re.compile("chosen by its owner")).first.wait_for()
