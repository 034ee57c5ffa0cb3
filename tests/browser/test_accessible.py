"""Dark on a phone, pages have no serious fault of accessibility (axe-core) and need no sideways scrolling.

Eight pages stand for all, because a check takes seconds.
"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from merging.jobs.examples import merges
from tests.browser.test_journeys import settle

RUN = merges()["cnns"].id[:12]
PAGES = {
    "merge": f"/?run={RUN}",
    "similarity": f"/similarity?run={RUN}",
    "unit": f"/neurons?run={RUN}&layer=features.6&unit=7",
    "evidence": f"/neurons?run={RUN}&view=Does+it+hold%3F",
    "why": f"/why?run={RUN}&layer=features.6",
    "compare": "/compare",
    "models": "/models",
    "runs": "/jobs",
}
ALSO_LIGHT = ("merge", "models")
WORST = ("serious", "critical")
FITS = (
    "() => { const main = document.querySelector('[data-testid=stMain]'); return main.scrollWidth <= main.clientWidth }"
)
TRIES = 4  # while a colour changes, its contrast is low


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_no_serious_fault_light_or_on_a_dark_phone(visitor, address):
    visitor.goto(address)
    settle(visitor)
    if address in map(PAGES.get, ALSO_LIGHT):
        assert faults(visitor) == []
    visitor.emulate_media(color_scheme="dark")
    visitor.set_viewport_size({"width": 400, "height": 800})
    assert faults(visitor) == []
    visitor.wait_for_function(FITS)  # charts take a moment to become narrower


def faults(page) -> list[str]:
    """Rule and first element of every serious or critical fault outside the charts, which have alternative texts."""
    options = {"resultTypes": ["violations"], "preload": False}  # the style sheets are in the page
    for _ in range(TRIES):
        found = Axe().run(page, context={"exclude": [[".js-plotly-plot"]]}, options=options).response["violations"]
        worst = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in WORST]
        if not worst:
            break
        page.wait_for_timeout(500)
    return worst
