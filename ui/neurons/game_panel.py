"""The game "Which is it?": which of four pictures of B's units shows the partner of a unit of A?"""

from __future__ import annotations

from functools import partial

import streamlit as st

from merging.errors import InvalidRequest
from merging.jobs.guesses import OPTIONS, GameScore, Round, guess, guessed_units, rounds, score
from merging.jobs.requests.base import ModelRef
from merging.results.intervals import wilson
from merging.results.reports import LayerUnits
from merging.text import numbers
from ui.neurons.picture_rows import Tile, show_tiles
from ui.neurons.pictures import Gallery, how_made, look, say_state, watch_pictures
from ui.neurons.unit_tiles import unit_tile
from ui.neurons.units import Cell, cells, ordered
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.screens import link
from ui.shell.state import ledger, owner
from ui.shell.words import meaning

ASKED = 32  # the best matched units of a layer, whose partners' pictures are most alike
CHANCE = 1 / OPTIONS
LAST = "the unit that was asked about last"


def game_panel(layer: LayerUnits, models: dict[str, ModelRef], found: Chosen, way: str) -> None:
    """Show one round of the game, its answer once it was guessed, and the person's score."""
    run = found.job.id if found.job is not None else ""
    st.markdown(
        f"The picture on the left shows what a unit of A responds to. One of the {OPTIONS} others shows its partner in "
        "B, the unit with which the alignment matched it. **Which is it?**"
    )
    guesses = guessed_units(ledger(), owner(), run, layer.layer)
    try:
        asked = kept(_rounds, layer, run)
    except InvalidRequest as error:
        st.info(str(error), icon=":material/info:")
        return
    shown = _round(asked, guesses)
    if shown is None:
        st.success(f"You have guessed about all {len(asked)} units of this layer. Choose another layer.")
    else:
        ask = partial(look, models, layer.layer, _cells(layer, shown), way=way)
        watch_pictures(ask, partial(_one_round, shown, layer, models, found, guesses.get(shown.unit), way))
    st.markdown(score_line(score(ledger(), owner(), run, layer.layer)))


def score_line(made: GameScore) -> str:
    """Say the score of a layer, and whether it differs from chance."""
    if not made.guesses:
        return f"Chance alone is right in one of {OPTIONS} cases."
    low, high = wilson(made.right / made.guesses, made.guesses)
    beyond = "better than chance" if low > CHANCE else "worse than chance" if high < CHANCE else "no better than chance"
    certain = "is" if beyond != "no better than chance" else "may be"
    return (
        f"**{made.right} of {made.guesses} right in this layer.** 95 % interval {numbers.accuracy(low)} to "
        f"{numbers.accuracy(high)}; chance alone gives {numbers.accuracy(CHANCE)}, so this {certain} {beyond}."
    )


def _rounds(layer: LayerUnits, run: str) -> list[Round]:
    alive = [unit for unit in ordered(layer, "best match", "all") if not _is_dead(layer, unit)]
    return rounds(alive[:ASKED], layer.partner, run)


def _is_dead(layer: LayerUnits, unit: int) -> bool:
    row = cells(layer, unit)
    return row["A"].dead or row["pi(B)"].dead


def _round(asked: list[Round], guesses: dict[int, int]) -> Round | None:
    """The round that was guessed last, until *Next* is pressed; else the first one without a guess."""
    last = st.session_state.get(LAST)
    for one in asked:
        if one.unit == last or (last is None and one.unit not in guesses):
            return one
    return next((one for one in asked if one.unit not in guesses), None)


def _cells(layer: LayerUnits, shown: Round) -> list[Cell]:
    return [cells(layer, shown.unit)["A"], *(Cell("B", unit, False) for unit in shown.options)]


def _one_round(
    shown: Round,
    layer: LayerUnits,
    models: dict[str, ModelRef],
    found: Chosen,
    guessed: int | None,
    way: str,
    gallery: Gallery,
) -> None:
    if gallery.waiting or gallery.failed or gallery.refused:
        say_state(gallery, models, layer, way)
    right = int(layer.partner[shown.unit])
    left, *columns = st.columns(OPTIONS + 1)
    with left:
        show_tiles([unit_tile("A", cells(layer, shown.unit)["A"], gallery, f"A, unit {shown.unit}")])
    for number, (unit, column) in enumerate(zip(shown.options, columns, strict=True), 1):
        with column:
            show_tiles([_option(number, unit, unit == right, guessed, gallery)])
            if guessed is None:
                label = f"Picture {number}"
                if st.button(
                    label, key=f"guess {shown.unit} {number}", width="stretch", disabled=bool(gallery.waiting)
                ):
                    guess(ledger(), owner(), found.job.id if found.job else "", layer.layer, shown.unit, unit, right)
                    st.session_state[LAST] = shown.unit
                    st.rerun(scope="app")
    if guessed is not None:
        _answer(shown, layer, found, guessed == right)
    st.caption(how_made(layer, way), help=meaning("picture of a unit"))


def _option(number: int, unit: int, right: bool, guessed: int | None, gallery: Gallery) -> Tile:
    """Return the picture of one of B's units; its number and its place in the game's answer stand below it."""
    said = [f"Picture {number}"]
    if guessed is not None:
        said.append(f"B, unit {unit}")
        said += ["your guess"] * (unit == guessed) + ["the partner"] * right
    made = gallery.made.get(("B", unit))
    if made is None:
        return Tile(tuple(said), alt="being made" if ("B", unit) in gallery.waiting else "no picture")
    return Tile((" · ".join(said),), made[0], f"Picture {number}: what a unit of B responds to")


def _answer(shown: Round, layer: LayerUnits, found: Chosen, right: bool) -> None:
    number = shown.options.index(int(layer.partner[shown.unit])) + 1
    match = numbers.correlation(float(layer.match[shown.unit]))
    words = f"It is picture {number}; the responses of the two units correlate by {match}."
    (st.success if right else st.warning)(f"{'Right.' if right else 'Not this one.'} {words}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Next unit", key="next unit", type="primary", icon=":material/arrow_forward:"):
            st.session_state.pop(LAST, None)
            st.rerun(scope="app")
        link("neurons", "See this unit in all networks", run=found.short, layer=layer.layer, unit=str(shown.unit))
