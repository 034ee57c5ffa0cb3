"""Images of one's own in a real browser: brought, looked at, trained on, merged on; a stranger sees none of them."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import expect

from tests.browser.test_journeys import STILL, chart, choose, go, set_number
from tests.zoo.image_files import png, zipped


def dots(path):
    """A zip of images of two classes, told apart by where a bright pixel is."""
    images = np.random.default_rng(0).integers(0, 90, (120, 8, 8, 3), np.uint8)
    images[np.arange(120), 2 + 3 * (np.arange(120) % 2), 2] = 255
    return zipped(path, {f"dots/{'ab'[at % 2]}/{at}.png": png(image) for at, image in enumerate(images)})


def test_own_images_are_brought_trained_on_and_merged_on(visitor, chromium, server, tmp_path):
    go(visitor, "/models")
    visitor.get_by_text("Data sets", exact=True).first.click()
    visitor.locator("[data-testid=stFileUploader]", has_text="Images by class").locator("input").set_input_files(
        dots(tmp_path / "dots.zip")
    )
    visitor.get_by_role("button", name="Read and add").click()
    visitor.get_by_text("Added dots: 96 training and 24 test images, 2 classes.").wait_for()
    visitor.get_by_role("img", name="Training images of dots by class: a, b").wait_for()
    go(visitor, "/models")
    visitor.get_by_text("Train another seed").click()
    choose(visitor, "Network", "MLP 3×128 · Fashion-MNIST")
    for seed in (5, 6):
        set_number(visitor, "Seed", seed)
        choose(visitor, "Images", "dots")
        visitor.get_by_text("On 96 training images").wait_for()
        visitor.get_by_role("button", name="Train", exact=True).click()
        visitor.get_by_text(f"dots · seed {seed}. It can now be selected on Merge").wait_for()
    go(visitor)
    for name, seed in (("A", 5), ("B", 6)):
        choose(visitor, f"Network {name}", f"MLP 3×128 · dots · seed {seed}")
    set_number(visitor, "Points", 3)
    visitor.get_by_role("button", name="Run merge").click()
    visitor.get_by_text("Weight matching › Average · dots · seed 0").wait_for()
    visitor.get_by_role("link", name="Neurons").first.wait_for()
    chart(visitor).wait_for()
    run = re.search(r"run=([0-9a-f]{12})", visitor.url)
    assert run
    context = chromium.new_context(base_url=server.url)
    stranger = context.new_page()
    go(stranger, f"/neurons?run={run[1]}&view=Unit+by+unit")
    stranger.get_by_text("The images belong to someone who does not share them.").first.wait_for()
    go(stranger, "/models")
    stranger.wait_for_selector(STILL)
    expect(stranger.get_by_text("Uploaded images")).to_have_count(0)
    context.close()
