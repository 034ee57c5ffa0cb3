"""Words of other people are shown as text: no link, picture, formula, colour or icon is ever made of them."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from merging.jobs.examples import merges
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.images import add_images
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.sweep import SweepRequest
from merging.paths import ROOT
from merging.teaching.classes import lead, open_class
from merging.teaching.students import LONGEST_NAME, join_class, raise_hand
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint
from tests.pages.ledgers import done, failed, merge_request, queued
from tests.pages.test_merge_page import html
from ui.shell.markdown import JOINER, plain
from ui.shell.screens import SCREENS

EVIL = "![a](//b.c) [d](//e.f) <img src=//g.h> $i$ :red[j] :material/k: `l` **m** _n_ &amp; http://o.p www.q.r s@t.u"
MADE_OF_IT = ("](//", "<img", "$i$", ":red[", ":material/k", "`l`", "**m**", "_n_", "&amp;", "http://o", "www.q", "s@t")
# What is shown as it is, whatever it holds: the text of menus, of fields and of code; alternative texts; tables.
UNREAD = {
    "Selectbox.options", "Selectbox.raw_value", "MultiSelect.options", "MultiSelect.raw_values", "TextInput.default",
    "TextInput.value", "TextArea.default", "Code.code_text", "ImageList.alt", "Image.alt", "PlotlyChart.alt",
    "PlotlyChart.spec", "PlotlyChart.config", "PageLink.query_string", "PageLink.page", "Dataframe.alt", "Html.body",
    "ArrowDataframe.alt", "Arrow.alt", "Dataframe.columns", "Arrow.columns", "PageProfile.commands",
}  # fmt: skip


def texts(message: Message, path: str = ""):
    """Every text of an element with its place, "Kind.field"."""
    for field, value in message.ListFields():
        place = f"{message.DESCRIPTOR.name}.{field.name}"
        for one in value if field.is_repeated else [value]:
            if isinstance(one, Message):
                yield from texts(one)
            elif isinstance(one, str):
                yield place, one


def elements(block):
    """All elements and blocks below a block."""
    for child in getattr(block, "children", {}).values():
        yield child
        yield from elements(child)


def read_as_markdown(app):
    """(place, text) of whatever the page lets Markdown read."""
    for element in elements(app._tree):
        proto = getattr(element, "proto", None)
        if isinstance(proto, Message):
            yield from ((place, text) for place, text in texts(proto) if place not in UNREAD)


class Tags(HTMLParser):
    """Tags of a text with their attributes, and its words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


def foreign_tags(text):
    """Tags that the rows of pictures never have."""
    picture = "data:image/png;base64,"
    for tag, attributes in Tags(text).tags:
        known = tag in {"div", "span", "figure", "figcaption", "br", "b", "img"}
        fitting = {*attributes} <= {"class", "alt", "title", "src"} and attributes.get("src", picture).startswith(
            picture
        )
        if not (known and fitting):
            yield tag, attributes


def active(text):
    """The text without what a backslash takes the meaning of."""
    return re.sub(r"\\.", "·", text, flags=re.DOTALL)


def check(app, where):
    assert not app.exception, (where, app.exception)
    found = {place: text for place, text in read_as_markdown(app) if any(sign in active(text) for sign in MADE_OF_IT)}
    assert not found, where
    ours = [one.proto.body for one in app.get("html") if "<style>" not in one.proto.body]
    assert not [*foreign_tags("".join(ours))], where


def evil(entry, number, **changes):
    words = {"name": f"{EVIL[:100]} {number}", "notes": EVIL, "why": EVIL, "evidence": EVIL, "private": False}
    classes = tuple(f"{EVIL[:50]}{at}" for at in range(10))
    return replace(entry, id="", source="uploaded", classes=classes, created=time.time(), **words, **changes)


def evil_sweep(images):
    """A sweep on these images, whose title ends with their label."""
    data = {"dataset": images, "data_sha256": fingerprint(images, None)}
    counts = {"merge_sha256": {"100": fingerprint(images, 100)}, "images": 100}
    net = {"config": {"widths": [4], "in_shape": [1, 8, 8], "classes": 2}}
    return SweepRequest("mlp", **net, **data, **counts, axes=(("width", (4, 8)),), groups=1)


@pytest.fixture
def evil_ledger(ledger, tmp_path):
    """Networks, images, runs and errors, all called EVIL."""
    nets = [catalogue.find_entry(f"fashion-mlp-128-s{seed}") for seed in (0, 1)]
    kept = []
    for number, net in enumerate(nets):
        data = bytearray(catalogue.shipped_file(net.sha256).read_bytes())
        data[-1] ^= number + 1  # a network of one's own
        kept.append(ledger.add_model(evil(net, number), bytes(data), "somebody"))
    models = tuple(ModelRef.of(entry) for entry in kept)
    kept_run = done(ledger, replace(merge_request(), models=models), "somebody")
    queued(ledger, replace(merge_request(), models=models, seed=5), "somebody")
    broken = failed(ledger, replace(merge_request(), models=models, seed=6), "somebody")
    with connect(ledger.file) as db:
        error = {"kind": EVIL, "text": EVIL, "details": EVIL}
        db.execute("UPDATE jobs SET error = ? WHERE id = ?", (json.dumps(error), broken))
    folder = tmp_path / "images"
    for split in ("train", "test"):
        for name in (EVIL.replace("/", "")[:60], "other"):
            (folder / split / name).mkdir(parents=True)
            pixels = np.random.default_rng(len(name)).integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / name / "1.png")
    images = add_images(ledger, folder, "somebody", label=EVIL.replace("/", "")[:60], shared=True)
    sweep = evil_sweep(images.id)
    ledger.submit(sweep, "somebody")
    return kept, kept_run, broken, sweep.id


PAGES = tuple(key for key in SCREENS if key != "lab")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
@pytest.mark.parametrize("page", PAGES)
def test_no_page_makes_anything_of_the_words_of_others(page, evil_ledger, open_page):
    kept, run, broken, sweep = evil_ledger
    nets = ",".join(entry.id for entry in kept)
    for params in (
        {"run": run[:12]},
        {"run": broken[:12]},
        {"run": EVIL},
        {"nets": nets},
        {"zip": EVIL, "nets": EVIL},
        dict.fromkeys(("layer", "unit", "pair", "row", "column", "view", "metric", "images", "seeds", "third"), EVIL),
        {"run": run[:12], "layer": "layers.0", "unit": "2"},
        {"run": run[:12], "view": "classes"},
        {"runs": f"{run[:12]},{merges()['cnns'].id[:12]},{EVIL}"},
        {"sweep": sweep[:12]},
    ):
        check(open_page(page, menus=True, **params), (page, params))


@pytest.mark.parametrize("taught", [False, True], ids=["student", "teacher"])
def test_the_lab_makes_nothing_of_titles_nicknames_and_answers(ledger, open_page, monkeypatch, taught):
    for module in ("seat", "lobby"):
        monkeypatch.setattr(f"ui.teaching.{module}.owner", lambda: "v-me")
    halves = EVIL[:64], EVIL[64:]
    for number, title in enumerate(halves):
        teacher, student = ("v-me", "v-other") if taught else ("v-other", "v-me")
        made, _ = open_class(ledger, teacher, title, ["naive"])
        lead(ledger, made.code, teacher, place=("naive", "predict-half-way"))
        for person, half in ((student, halves[number]), ("v-third", halves[1 - number])):
            join_class(ledger, made.code, person, half[:LONGEST_NAME])
            raise_hand(ledger, made.code, person, True)
        for params in ({}, {"class": made.code}, {"class": made.code, "view": "projector"}):
            check(open_page("lab", **params), (title, params))


def menu_of_figures():
    from html import escape

    from merging.figures.palette import figure
    from tests.pages.test_foreign_words import EVIL
    from ui.shell.figures import save_figures
    from ui.shell.look import draw

    draw(figure(f"Mean response to {escape(EVIL)}.", height=200, x={}, y={}), "tuning", "tuning")
    save_figures()


def test_the_menu_that_saves_figures_says_the_words_of_others_as_they_are():
    app = AppTest.from_function(menu_of_figures)
    app.session_state["figures"] = True
    app.run()
    check(app, "figures")
    assert plain(EVIL) in app.caption[0].value


def rows_of_pictures():
    from tests.pages.test_foreign_words import EVIL
    from ui.neurons.picture_rows import Tile, show_strips, show_tiles

    evil = f'"{EVIL}" onerror=x'
    tiles = [Tile((evil,), b"pixels", evil, flagged=True), Tile((evil, evil), alt=evil, wide=True)]
    show_tiles(tiles, (evil, evil))
    show_strips([(evil, tile) for tile in tiles])


def test_rows_of_pictures_show_the_words_of_others_as_text():
    app = AppTest.from_function(rows_of_pictures).run()
    assert not app.exception
    assert not [*foreign_tags(html(app))]
    assert Tags(html(app)).words.count(EVIL) == 2 + 4 + 2 + 4
    assert {attributes["alt"] for tag, attributes in Tags(html(app)).tags if tag == "img"} == {f'"{EVIL}" onerror=x'}


ADDRESSES = "http://o.p https://o.p HTTP://o.p www.q.r WWW.q.r Www.q.r s@t.u mailto:s@t.u x://www.q"
ICONS = ":material/home: :material_home: :streamlit: a -> b <- c <-> d -- e >= f <= g ~= h"


@given(st.one_of(st.text(max_size=80), st.text("wW.:/@ahtps \\_", max_size=20), st.text("<->=~ a\n", max_size=9)))
@example(ADDRESSES)
@example(ICONS)
def test_plain_text_holds_no_sign_that_is_not_escaped(text):
    shown = plain(text)
    at, read = 0, ""
    while at < len(shown):
        if shown[at] == "\\":
            at += 1
        else:
            assert shown[at] not in "`*_{}[]<>#$~:|&@"
        read += shown[at]
        at += 1
    lines = [line.strip() for line in text.replace(JOINER, "").splitlines() if line.strip()]
    assert read.replace(JOINER, "") == "  \n".join(lines)
    # What becomes a link, an icon or an arrow after the escapes.
    assert not re.search(r"://|www\.|[-.\w+]@|:material[/_]|:streamlit:", read, re.IGNORECASE)
    assert not re.search(r"(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)", read)


@given(st.text("-+=*#> \t\n1.)x|~", max_size=12))
def test_a_text_of_several_lines_is_one_paragraph(text):
    for line in plain(f"only me\n\n{text}").split("\n"):
        assert line.strip(), "an empty line ends a paragraph"
        assert not re.match(r"\s|[-+=*#>|~]|\d+[.)](\s|$)", line), "a list, a heading, a rule, a quote, a table or code"


def test_the_words_of_the_test_are_all_that_can_be_made():
    assert all(sign in EVIL for sign in MADE_OF_IT)
    assert not any(sign in active(plain(EVIL)) for sign in MADE_OF_IT)


def a_table():
    from ui.shell.look import show_table

    show_table([{"=1+1": "@SUM(A1)", "number": -1.5, "text": "-0.5"}], alt="")


def test_no_table_gives_a_spreadsheet_a_formula():
    (shown,) = AppTest.from_function(a_table).run().dataframe
    assert shown.value.to_dict("records") == [{"'=1+1": "'@SUM(A1)", "number": -1.5, "text": "-0.5"}]
    look = ROOT / "ui" / "shell" / "look.py"
    others = [path for folder in ("ui", "pages") for path in (ROOT / folder).rglob("*.py") if path != look]
    assert not [path for path in others if re.search(r"\bst\.(dataframe|table|data_editor)\(", path.read_text("utf-8"))]
