"""Studies of one unit: its outcome in the merge, seed noise, cross-activation, class tuning, pictures along λ."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st
from PIL import Image

from merging.analysis.pictures.settings import contact_sheet
from merging.figures.curve import curve_figure, curves_of
from merging.figures.figure import Figure
from merging.figures.palette import STYLES
from merging.figures.units import change_figure, cross_figure, tuning_figure
from merging.results.reports import MergeReport
from merging.studies.evidence import ALL_UNITS, Evidence
from merging.studies.film import Film
from merging.studies.layer import LayerStudy
from merging.studies.units import BLOCK, FOLLOWS, WORDS, UnitsStudy, outcome
from merging.text import numbers
from merging.zoo.datasets.known import find_facts
from ui.neurons.ablation_panel import worth_of_unit
from ui.neurons.picture_rows import Tile, show_strips, show_tiles
from ui.neurons.tiles import FAST
from ui.neurons.units import SLOTS
from ui.runs.study import known, studied
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.words import meaning


def unit_study(found: Chosen, layer: str, unit: int) -> None:
    """Show four studies, each started by its own button: two of the whole layer, two of 16 neighbouring units."""
    first = unit // BLOCK * BLOCK
    st.markdown("#### What became of this unit in the merge?", anchors=False)
    measured: LayerStudy | None = studied(found, "layer", {"layer": layer}, button="Measure this layer's units")
    pictured: UnitsStudy | None = studied(found, "units", {"layer": layer, "first": first}, button="Compare pictures")
    if measured is not None and pictured is not None:
        st.markdown(unit_study_words(measured, pictured, unit))
    if pictured is not None:
        _pictures(pictured, unit - first)
    if measured is not None:
        _measured(measured, pictured, unit, found)
    worth_of_unit(found, layer, unit)
    st.markdown("#### Pictures along the path from A to B", anchors=False)
    film: Film | None = studied(found, "film", {"layer": layer, "first": first}, button="Make pictures along the path")
    if film is not None:
        _film(film, unit - first, found)


def fates(found: Chosen, layer: str, units: Sequence[int]) -> dict[int, str]:
    """unit -> its outcome in the merge, a key of WORDS, for the given units whose studies are finished.

    The study of the unit's own page goes before the study of all units.
    """
    layer_study: LayerStudy | None = known(found, "layer", {"layer": layer})
    outcomes: dict[int, str] = {}
    for first in sorted({unit // BLOCK * BLOCK for unit in units}) if layer_study is not None else ():
        units_study: UnitsStudy | None = known(found, "units", {"layer": layer, "first": first})
        if layer_study is not None and units_study is not None:
            outcomes |= {
                unit: _outcome(layer_study, units_study, unit)[0] for unit in units if unit in units_study.units
            }
    every: Evidence | None = known(found, "evidence", ALL_UNITS)
    return (every.fates_of(layer, units) if every is not None else {}) | outcomes


def unit_study_words(measured: LayerStudy, pictured: UnitsStudy, unit: int) -> str:
    """State the unit's outcome in the merge, by the rule of `studies.units.outcome`, with the numbers behind it."""
    word, (to_a, to_b, agree) = _outcome(measured, pictured, unit)
    a, b = (measured.slots.index(slot) for slot in ("A", "pi(B)"))
    shared = float(measured.overlap[a, b, unit])
    from_a, from_b, each_other = (numbers.ratio(value) for value in (to_a, to_b, agree))
    return (
        f"**{word.capitalize()}**: {WORDS[word]}. The merge's unit responds to the picture and the strongest images "
        f"of A's unit with {from_a} of its own strongest response, and to those of π(B)'s unit with {from_b}. The "
        f"parents' units respond to each other's with {each_other}. From {numbers.ratio(FOLLOWS)} on, a unit counts "
        "as following the other. Of their nine strongest images, A and π(B) share "
        f"{numbers.accuracy(shared).replace('.0 %', ' %')}."
    )


def _outcome(measured: LayerStudy, pictured: UnitsStudy, unit: int) -> tuple[str, tuple[float, float, float]]:
    dead = bool(measured.dead[measured.slots.index("merge"), unit])
    return outcome(pictured.cross[:, :, unit - pictured.units[0]], measured.response[:, :, unit], dead)


def _pictures(pictured: UnitsStudy, place: int) -> None:
    names = {"first": "first start", "second": "second start", "negative": "negative direction"}
    st.markdown("**Pictures from two random starts, and of the negative direction**", help=meaning("seed noise"))
    made = {name: label for name, label in names.items() if name in pictured.pictures}
    show_strips([(label, _start_tile(pictured, name, label, place)) for name, label in made.items()])
    noises = (numbers.correlation(float(noise)) for noise in pictured.noise[:, place])
    pairs = (f"{SLOTS[slot]} {noise}" for slot, noise in zip(pictured.slots, noises, strict=True))
    st.caption(f"From left to right, with the pixel correlation between the two starts: {', '.join(pairs)}.")


def _measured(measured: LayerStudy, pictured: UnitsStudy | None, unit: int, found: Chosen) -> None:
    left, right = st.columns(2)
    if pictured is not None:
        with left.container(border=True):
            st.markdown("**Which network responds to whose picture?**", help=meaning("cross-activation"))
            draw(kept(_cross, pictured, unit), f"cross {unit}", f"cross-{unit}", width="stretch")
    with right.container(border=True):
        st.markdown("**Which classes does the unit respond to?**")
        dataset = found.report.request.get("dataset", "") if found.report else ""
        facts = find_facts(dataset)
        classes = tuple(escape(name) for name in facts.classes) if facts is not None else ()
        draw(kept(_tuning, measured, classes, unit), f"tuning {unit}", f"tuning-{unit}", width="stretch")
    st.markdown(unit_table(measured, pictured, unit))


def _cross(pictured: UnitsStudy, unit: int) -> Figure:
    names = [SLOTS[slot] for slot in pictured.slots]
    return cross_figure(pictured.cross[:, :, unit - pictured.units[0]], names, unit)


def _tuning(measured: LayerStudy, known: tuple[str, ...], unit: int) -> Figure:
    """Return the mean response per class. known: names of the classes; a class without a name shows its number."""
    tuning = measured.tuning[:, :, unit]
    classes = [known[at] if at < len(known) else str(at) for at in range(tuning.shape[1])]
    return tuning_figure(tuning, [SLOTS[slot] for slot in measured.slots], classes, unit)


def _loss_at(report: MergeReport, place: float) -> Figure:
    """Return the run's loss curves with a vertical line at λ = `place`."""
    curve = curve_figure(report, "loss")
    curve.add_upright(place, {"color": "rgba(127,127,127,0.8)", "width": 1.5})
    return curve


def unit_table(measured: LayerStudy, pictured: UnitsStudy | None, unit: int) -> str:
    """Correlations of the unit between pairs of networks, as a Markdown table."""
    lines = [
        "| | correlation of responses averaged over positions | correlation of incoming weights | correlation of "
        "pictures' pixels | share of common images among the nine strongest |",
        "|---|---:|---:|---:|---:|",
    ]
    for one, other in (("A", "pi(B)"), ("merge", "A"), ("merge", "pi(B)"), ("naive", "A"), ("naive", "B")):
        i, j = (measured.slots.index(slot) for slot in (one, other))
        pixels = pictured.pixels[i, j, unit - pictured.units[0]] if pictured is not None else float("nan")
        values = (measured.activation[i, j, unit], measured.weight[i, j, unit], pixels, measured.overlap[i, j, unit])
        lines.append(
            f"| {SLOTS[one]} and {SLOTS[other]} | {' | '.join(numbers.correlation(float(v)) for v in values)} |"
        )
    return "\n".join(lines)


def _film(film: Film, place: int, found: Chosen) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        start = st.segmented_control(
            "Start of every picture", ["cold", "warm"], default="cold", key="start", required=True,
            help="Cold: every picture starts from the same noise. Warm: it starts from the picture at the previous λ.",
        )  # fmt: skip
    labels = {line: STYLES[line].label for line in film.pictures}
    alts = {line: f"Pictures along the {label} line, from A to B" for line, label in labels.items()}
    strips = {line: Tile((), kept(_frames, film, line, start, place), alts[line], wide=True) for line in labels}
    show_strips([(labels[line], strip) for line, strip in strips.items()])
    places = {round(float(value), 2): at for at, value in enumerate(film.lambdas)}
    at = places[st.select_slider("λ", list(places), value=0.5 if 0.5 in places else 0.0, key="film at")]
    left, right = st.columns([2, 3], vertical_alignment="center")
    with left:
        show_tiles([_frame_tile(film, line, start, place, at) for line in ("naive", "aligned")])
    with right:
        if found.report is not None and curves_of(found.report, "test"):
            draw(
                kept(_loss_at, found.report, float(film.lambdas[at])), "loss of the film", "loss-film", width="stretch"
            )
    draw(kept(change_figure, film, place, start), f"change {start}", "film-change", width="stretch")
    st.caption(
        "Where the lines fall below the marks, the picture changes more than numerical noise explains. Cold starts can "
        "jump between equally good pictures; warm starts drift with the optimiser. Trust only changes that both show. "
        f"{film.how.get('steps')} steps per picture, seed {film.how.get('seed')}; networks: uncorrected averages."
    )


def _start_tile(pictured: UnitsStudy, name: str, label: str, place: int) -> Tile:
    alt = f"Pictures of {', '.join(SLOTS[slot] for slot in pictured.slots)}, {label}"
    return Tile((), kept(_starts, pictured, name, place), alt, wide=True)


def _frame_tile(film: Film, line: str, start: str, place: int, at: int) -> Tile:
    label = STYLES[line].label
    strength = numbers.ratio(float(film.strength[line][start][at, place]))
    alt = f"Picture at λ = {film.lambdas[at]:.2f} on the {label} line"
    return Tile((f"{label}, response {strength}",), kept(_frame, film, line, start, place, at), alt)


def _starts(pictured: UnitsStudy, name: str, place: int) -> bytes:
    return _strip(pictured.pictures[name][:, place])


def _frames(film: Film, line: str, start: str, place: int) -> bytes:
    return _strip(film.pictures[line][start][:, place])


def _frame(film: Film, line: str, start: str, place: int, at: int) -> bytes:
    return _strip(film.pictures[line][start][at : at + 1, place])


def units_at(film: Film, line: str, at: int) -> bytes:
    """Pictures of all units of a film at one of its lambdas, side by side, as PNG."""
    return _strip(film.pictures[line]["cold"][at])


def _strip(pictures: np.ndarray) -> bytes:
    """Pictures (n, H, W, C) with values 0..255 in one row, each pixel enlarged to 4 × 4, as PNG."""
    sheet = contact_sheet(list(pictures.astype(np.float32) / 255), len(pictures))
    out = io.BytesIO()
    image = Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet)
    image.resize((image.width * 4, image.height * 4), 0).save(out, "PNG", compress_level=FAST)
    return out.getvalue()
