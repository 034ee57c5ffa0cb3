"""Take all pictures of README and docs again: python -m benchmarks.document_pictures [NAME ...]

The app runs with a ledger that holds only the shipped runs. `neurons` shows a merge of two CIFAR-10 networks, which is
computed first and needs the images (MERGESCOPE_DATA). Look at each picture before you commit it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from benchmarks.pages import running
from benchmarks.timing import write
from merging.jobs.examples import LOOKED_INTO, merges
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.paths import ROOT
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint

if TYPE_CHECKING:
    from playwright.sync_api import Page

CIFAR = "cifar"  # the run of `neurons`, which is no shipped one
TALL = 6000  # pixels, more than any page has
SETTLED = 4.0  # seconds after which charts have their final size
PATIENCE = 900.0  # seconds for the pictures of one page of units


@dataclass(frozen=True)
class Shot:
    """A picture to take: page, run (a preset, or CIFAR), width in pixels, and the heading where it begins.

    height: 0 for all of the page below the heading.
    """

    page: str
    run: str
    width: int
    heading: str = ""
    height: int = 0
    params: dict[str, str] = field(default_factory=dict)


PICTURES = {
    "first-screen": Shot("", "mlps", 1280, height=1558),
    "neurons": Shot("neurons", CIFAR, 1280, height=1270, params={"layer": "features.13", "view": "Unit by unit"}),
    "why": Shot("why", "cnns", 1120, "Why does this merge work, or fail?", 1558),
    "inside-evidence": Shot(
        "neurons", "cnns", 1120, "What became of each unit?", params={"view": "Does it hold?", "drawn": "all"}
    ),
    "landscape": Shot("landscape", "mlps", 1080, "What lies between and around the networks?", 703),
    "inside-film": Shot(
        "neurons",
        "cnns",
        1080,
        "Pictures along the path from A to B",
        params={"layer": LOOKED_INTO["cnns"], "unit": "5"},
    ),
}


def cifar_run(ledger: Ledger) -> str:
    """Merge two CIFAR-10 networks, as an example of pictures in colour; return the run's id."""
    models = tuple(ModelRef.of(catalogue.find_entry(f"cifar-cnn-s{seed}")) for seed in (0, 1))
    images = fingerprint("cifar-10", 2000)
    request = MergeRequest(
        models, align="activation-matching", combine="average", correct="repair", dataset="cifar-10",
        data_sha256=images, images=2000, points=11, seed=0,
    )  # fmt: skip
    ledger.submit(request, "documents")
    while (job := ledger.job(request.id)) is None or job.open:
        time.sleep(0.5)
    if job.state != "done":
        raise SystemExit(f"The merge ended as {job.state}: {job.error}")
    return request.id


def take(page: Page, server: str, picture: Shot, run: str, file: Path) -> None:
    """Open the page, wait until nothing is being made, and write the picture."""
    page.set_viewport_size({"width": picture.width, "height": TALL})
    page.goto(f"{server}/{picture.page}?{urlencode({'run': run[:12], **picture.params})}")
    page.get_by_role("button", name="Copy link").wait_for()
    page.wait_for_timeout(1000 * SETTLED)
    page.wait_for_function(
        "() => !document.body.innerText.match(/being made|Making pictures/)", timeout=1000 * PATIENCE
    )
    page.wait_for_timeout(1000 * SETTLED)
    top = 0.0
    if picture.heading:
        box = page.get_by_text(picture.heading).first.bounding_box()
        top = box["y"] - 14 if box else 0.0
    block = page.locator(".stMainBlockContainer").bounding_box()
    bottom = block["y"] + block["height"] if block else TALL
    left = block["x"] + 40 if block and picture.heading else 0.0
    height = picture.height or bottom - top - 30
    clip = {"x": left, "y": top, "width": picture.width - 2 * left, "height": min(height, TALL - top)}
    page.screenshot(path=str(file), clip=clip)  # type: ignore[arg-type]


def main() -> None:
    """Take all pictures, or those that are named."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", choices=[*PICTURES, []], metavar="NAME")
    names = options.parse_args().names or list(PICTURES)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        with running() as (server, _), sync_playwright() as playwright:
            program = os.environ.get("MERGESCOPE_CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            for name in names:
                picture = PICTURES[name]
                run = cifar_run(Ledger(Path(home))) if picture.run == CIFAR else merges()[picture.run].id
                page = browser.new_page(color_scheme="light")
                take(page, server, picture, run, ROOT / "docs" / f"{name}.png")
                page.close()
                write(f"docs/{name}.png")
            browser.close()


if __name__ == "__main__":
    main()
