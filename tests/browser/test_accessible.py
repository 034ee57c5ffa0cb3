"""axe-core finds no serious or critical fault of accessibility on any page: light, dark and on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from merging.jobs.examples import merges

RUN = merges()["cnns"].id[:12]
PAGES = {
    "merge": f"/?run={RUN}",
    "similarity": f"/similarity?run={RUN}",
    "neurons": f"/neurons?run={RUN}",
    "unit": f"/neurons?run={RUN}&layer=features.6&unit=7",
    "evidence": f"/neurons?run={RUN}&view=evidence",
    "why": f"/why?run={RUN}&layer=features.6",
    "landscape": f"/landscape?run={RUN}",
    "method": f"/method?run={RUN}",
    "side": f"/side?runs={RUN},{merges()['mlps'].id[:12]}",
    "compare": "/compare",
    "models": "/models",
    "runs": "/jobs",
    "zip": "/zip",
    "glossary": "/words",
}
WORST = ("serious", "critical")
QUIET = 700  # milliseconds without a change of the page


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_no_serious_fault_light_dark_or_narrow(visitor, address):
    visitor.goto(address)
    visitor.wait_for_selector("[data-testid=stMainBlockContainer] >> text=/./")
    for look in ({}, {"color_scheme": "dark"}, {"width": 400}):
        if "width" in look:
            visitor.set_viewport_size({"width": 400, "height": 800})
        else:
            visitor.emulate_media(**look)
        visitor.wait_for_timeout(QUIET)
        assert faults(visitor) == []


def faults(page) -> list[str]:
    """Rule and first element of every serious or critical fault."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in WORST]
