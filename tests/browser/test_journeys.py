"""What people do, in a real browser against a real server with a real worker. Tests wait for states, never for time."""

import json
import re
from contextlib import suppress
from urllib.parse import quote

import pytest
from playwright.sync_api import Error, TimeoutError

from merging.jobs.examples import LOOKED_INTO, merges

STILL = "[data-testid=stApp][data-test-script-state=notRunning]"
SMALL = "MLP 3×128 · Fashion-MNIST · seed {}"


QUIET = """() => {
  const still = document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]") !== null;
  const now = performance.now();
  window.quietSince = still ? (window.quietSince ?? now) : null;
  return still && now - window.quietSince > 400;
}"""  # a page is drawn anew some time after a click, and for a moment the old form stands beside the new one


def settle(page):
    """Wait until the page has been drawn and nothing was drawn anew for a while."""
    page.evaluate("window.quietSince = null")
    page.wait_for_function(QUIET)


def go(page, path="/"):
    page.goto(path)
    page.wait_for_selector(STILL)


def choose(page, label, option):
    """Choose from a menu, which closes if its page is drawn anew just then."""
    box = page.get_by_role("combobox", name=re.compile(label))
    for _ in range(10):
        settle(page)
        with suppress(TimeoutError):
            box.click(timeout=20_000)
            box.fill(option, timeout=20_000)
            page.get_by_role("option", name=option).first.click(timeout=20_000)
            settle(page)
            return
    pytest.fail(f"{label} offers no {option}")


def set_number(page, label, value):
    type_into(page, page.get_by_role("spinbutton", name=re.compile(label)), value)


def type_into(page, box, value):
    """Type a value into a field: a form that is drawn anew forgets what was typed into the old one."""
    for _ in range(10):
        settle(page)
        if box.count() == 1:
            box.fill(str(value))
            box.press("Enter")
            settle(page)
            if box.count() == 1 and box.input_value() == str(value):
                return
    pytest.fail(f"{box} does not take {value}")


def chart(page):
    return page.locator("[data-testid=stPlotlyChart] .main-svg").first


def run_merge(page, images=200, points=5, seed=0):
    go(page)
    for number, name in enumerate("AB"):
        choose(page, f"Network {name}", SMALL.format(number))
    for label, value in (("Seed", seed), ("Points", points), ("Images", images)):
        set_number(page, label, value)
    page.get_by_role("button", name="Run merge").click()


@pytest.fixture(scope="module")
def finished(chromium, server):
    """The address of a small merge that was run in the browser and watched until it was done."""
    context = chromium.new_context(base_url=server.url)
    context.set_default_timeout(180_000)
    page = context.new_page()
    run_merge(page)
    page.get_by_text(re.compile("in the queue|Load the networks")).first.wait_for()
    page.get_by_text("Naive average").first.wait_for()
    chart(page).wait_for()
    run = re.search(r"run=([0-9a-f]{12})", page.url)
    assert run
    headline = page.get_by_role("heading", level=2).first.inner_text()
    context.close()
    return run[1], headline


def test_the_first_screen_shows_a_finished_example_without_a_click(visitor):
    go(visitor)
    visitor.get_by_text("Naive average").first.wait_for()
    chart(visitor).wait_for()
    visitor.get_by_text("· example").first.wait_for()


def test_a_merge_runs_and_its_address_shows_the_same_to_somebody_else(visitor, finished):
    run, headline = finished
    go(visitor, f"/?run={run}")
    chart(visitor).wait_for()
    assert visitor.get_by_role("heading", level=2).first.inner_text() == headline
    visitor.get_by_text("ok", exact=False).first.wait_for()
    assert visitor.get_by_role("button", name="Delete").count() == 0


def test_the_chart_follows_its_controls(visitor, finished):
    go(visitor, f"/?run={finished[0]}")
    visitor.get_by_text("Loss (nats per image)").first.wait_for()
    visitor.get_by_role("radio", name="Accuracy").or_(visitor.get_by_role("button", name="Accuracy")).first.click()
    visitor.get_by_text("Accuracy (%)").first.wait_for()
    assert "metric=Accuracy" in visitor.url


def test_a_running_merge_can_be_cancelled(visitor):
    run_merge(visitor, images=10_000, points=101)
    visitor.get_by_role("button", name="Cancel").click()
    visitor.get_by_text("This run was cancelled.").wait_for()
    visitor.get_by_role("button", name="Run it again", exact=True).wait_for()  # drawn after the words


def click_at(page, chart, right, down, hovered):
    """Click into a chart at these shares of its size, once what hovering it says is shown.

    Charts are drawn anew when results come, which loses the mouse: it is moved there until the chart has seen it.
    """
    for _ in range(30):
        box = None
        with suppress(Error):  # the chart was taken away just then
            chart.scroll_into_view_if_needed(timeout=5_000)
            box = chart.bounding_box()
        if box is not None:
            page.mouse.move(box["x"] + 5, box["y"] + 5)
            page.mouse.move(box["x"] + box["width"] * right, box["y"] + box["height"] * down, steps=5)
            if hovered.count():
                break
        page.wait_for_timeout(500)
    page.mouse.down()
    page.mouse.up()


def test_from_a_cell_to_a_layer_to_a_unit_and_on_to_somebody_else(visitor, chromium, server, finished):
    """Heatmap cell -> how far to trust it -> all units of the layer -> one unit -> its address in another browser."""
    go(visitor, f"/similarity?run={finished[0]}")
    area = visitor.locator("[data-testid=stPlotlyChart] .nsewdrag").first
    area.wait_for()
    settle(visitor)
    for _ in range(10):  # a chart that is drawn anew just then loses a click, too
        if "row=layers.2" not in visitor.url:
            click_at(visitor, area, 0.5, 2.5 / 7, visitor.get_by_text(re.compile("A: layers.2")))
            with suppress(TimeoutError):
                visitor.wait_for_url(re.compile(r"row=layers\.2"), timeout=15_000)
    assert "row=layers.2" in visitor.url
    visitor.get_by_text("without the 1 % of images with the largest leverage").wait_for()
    units = visitor.get_by_role("link", name="Neurons of layers.2").first.get_attribute("href")
    go(visitor, f"/{units}&view=All+units&sort=unit+number")
    sheet = visitor.locator("[data-testid=stPlotlyChart] .nsewdrag").last
    sheet.wait_for()
    visitor.get_by_text(re.compile("Making pictures")).wait_for(state="hidden")
    unit = visitor.get_by_text("Unit 18 of layers.2")
    for _ in range(10):  # the sheets are drawn anew when the last picture has come: a click before that is lost
        if not unit.count():
            click_at(visitor, sheet, 2.5 / 8, 2.5 / 4, visitor.get_by_text(re.compile("unit 18: match")))
            visitor.wait_for_timeout(3_000)
    visitor.wait_for_url(re.compile(r"/neurons\?.*unit=18"))
    visitor.get_by_text("Unit 18 of layers.2").wait_for()
    context = chromium.new_context(base_url=server.url)
    other = context.new_page()
    other.goto(visitor.url)
    other.get_by_text("Unit 18 of layers.2").wait_for(timeout=180_000)
    context.close()


def test_a_film_along_the_path_follows_its_slider(visitor):
    """On the example, whose film is shipped."""
    go(visitor, "/why")
    visitor.get_by_text("Which layer contributes most to the barrier?").wait_for()
    run = merges()["cnns"].id[:12]
    go(visitor, f"/neurons?run={run}&layer={LOOKED_INTO['cnns']}&unit=3")
    slider = visitor.get_by_role("slider").last
    visitor.get_by_role("img", name=re.compile("Picture at λ = 0.50 on the aligned average line")).wait_for()
    slider.focus()
    slider.press("ArrowRight")
    visitor.get_by_role("img", name=re.compile("Picture at λ = 0.60 on the aligned average line")).wait_for()


def test_a_study_is_made_while_one_waits(visitor, finished):
    go(visitor, f"/landscape?run={finished[0]}")
    visitor.get_by_role("button", name="Measure the plane").click()
    visitor.get_by_text("The two lines of the plane as curves").wait_for()
    visitor.get_by_text("Axes are orthogonal").wait_for()


def test_addresses_in_the_words_of_others_are_no_links(visitor):
    for words in ("http://o.pq", "www.evil.com", "WWW.evil.com", "s@tu.vwx"):
        go(visitor, f"/?run={quote(words)}")
        visitor.get_by_text("is not here").wait_for()
        links = visitor.locator(".stMain a").evaluate_all("links => links.map(link => link.href)")
        assert not [link for link in links if "o.pq" in link or "evil.com" in link or "tu.vwx" in link]


def test_the_numbers_can_be_taken_along(visitor, finished):
    go(visitor, f"/?run={finished[0]}")
    visitor.get_by_role("button", name="Downloads").click()
    with visitor.expect_download() as download:
        visitor.get_by_role("button", name="Numbers (JSON)").click()
    numbers = json.loads(download.value.path().read_text())
    assert len(numbers["curves"]["naive"]["test"]["loss"]) == 5


def test_pictures_arrive_while_one_looks(visitor, finished):
    go(visitor, f"/neurons?run={finished[0]}&layer=layers.0&unit=3")
    picture = visitor.get_by_role("img", name=re.compile("Picture that excites unit 3 of A"))
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") == 28
    back = visitor.get_by_role("link", name="All units of the layer")
    # Both pages are drawn anew while pictures arrive, which may take a link from under the mouse: follow its address.
    go(visitor, "/" + back.get_attribute("href") + "&view=Unit+by+unit&sort=unit+number")
    visitor.get_by_text("What became of each unit?").wait_for()
    unit = visitor.get_by_role("link", name=re.compile("^Unit 5|Unit 5$"))
    go(visitor, "/" + unit.get_attribute("href"))
    visitor.get_by_text("Unit 5 of layers.0").wait_for()


def test_networks_of_different_classes_are_zipped_and_the_address_shows_the_same_to_somebody_else(
    visitor, chromium, server
):
    go(visitor, "/zip")
    set_number(visitor, "Images", 200)
    visitor.get_by_role("button", name="Run partial zip", exact=True).click()
    visitor.get_by_text("measured on 200 test images").wait_for()
    told = visitor.get_by_role("heading", level=4).first.inner_text()
    other = chromium.new_context(base_url=server.url).new_page()
    go(other, visitor.url)
    assert other.get_by_role("heading", level=4).first.inner_text() == told
    chart(other).wait_for()
    other.context.close()


def test_what_was_found_is_still_there_after_a_restart(visitor, server, finished):
    run, headline = finished
    server.stop()
    server.start()
    go(visitor, f"/?run={run}")
    chart(visitor).wait_for()
    assert visitor.get_by_role("heading", level=2).first.inner_text() == headline
