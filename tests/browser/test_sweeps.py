"""A sweep in a real browser: filled in, interrupted by a restart, extended, taken along, and a run of it opened."""

import re

from tests.browser.test_journeys import go, set_number, settle, type_into


def finished(page, merges):
    """Wait until all merges of the sweep are done."""
    page.get_by_text(f"{merges} merges", exact=True).wait_for()
    page.get_by_role("button", name="Pause").wait_for(state="hidden")
    settle(page)


def test_a_sweep_survives_a_restart_and_is_extended(visitor, server):
    page = visitor
    go(page, "/sweeps")
    values = page.get_by_role("textbox", name="Values, separated by commas")
    type_into(page, values, "5, 9")  # widths that no other journey trains
    set_number(page, "^Groups", 1)
    set_number(page, "^Epochs", 3)  # long enough to be interrupted
    set_number(page, "^Images", 200)
    page.get_by_text("4 trainings and 2 merges are left to do").wait_for()
    page.get_by_role("button", name="Run the sweep").click()
    page.wait_for_url(re.compile("sweep="))
    page.get_by_text(re.compile("[0-4] of 4 networks trained")).wait_for()
    server.stop()
    server.start()
    go(page, page.url)
    finished(page, 2)

    page.locator(".scatterlayer .point").nth(1).click(force=True)
    page.get_by_text("Runs at width of the first hidden layer 9").wait_for()
    with page.expect_download() as got:
        page.get_by_role("button", name="SVG", exact=True).click()
    assert got.value.path().read_text().startswith("<?xml")

    set_number(page, "^Groups", 2)
    page.get_by_text("4 trainings and 2 merges are left to do (4 trainings are there already)").wait_for()
    page.get_by_role("button", name="Run the sweep").click()
    finished(page, 4)
    with page.expect_download() as got:
        page.get_by_role("button", name="CSV", exact=True).click()
    lines = got.value.path().read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("width,align,combine,correct,group,seed,state,run,accuracy")

    go(page, f"{page.url}&point=0")
    page.get_by_role("link", name="Weight matching · group 0").click()
    page.get_by_text("Half-way").first.wait_for()
