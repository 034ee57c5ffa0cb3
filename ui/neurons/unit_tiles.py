"""Tile of one unit (its picture, or the reason why there is none), and the images to which it responds most."""

from __future__ import annotations

from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.picture_rows import Tile
from ui.neurons.pictures import Gallery
from ui.neurons.tiles import exemplar_sheet
from ui.neurons.units import SLOTS, Cell, strength
from ui.shell.kept import kept
from ui.shell.state import images, why_no_images


def unit_tile(slot: str, cell: Cell, gallery: Gallery, name: str = "") -> Tile:
    """Return one picture with its label (`name`, or the position's); a grey box gives the reason if there is none."""
    name = name or (f"{SLOTS[slot]} {cell.unit}" if cell.source == "B" else SLOTS[slot])
    picture = gallery.made.get((cell.source, cell.unit))
    if picture is not None and not cell.dead:
        words, weak = strength(picture[1], cell.seen)
        does = "excites" if gallery.excites else "suppresses"
        alt = f"Picture that {does} unit {cell.unit} of {SLOTS[slot]}; {words}"
        return Tile((name, words), picture[0], alt, flagged=weak and gallery.excites)
    waits = (cell.source, cell.unit) in gallery.waiting
    stopped = (cell.source, cell.unit) in gallery.failed
    why = "being made" if waits else "stopped or failed" if stopped else "no picture"
    why = "dead unit: no meaningful picture" if cell.dead else why
    return Tile((name,), alt=why)


def exemplars(layer: LayerUnits, network: str, unit: int, report: MergeReport, columns: int = 9) -> Tile:
    """Return the images to which a unit responds most; a grey box gives the reason if they cannot be shown."""
    if not layer.images:
        return Tile((), alt="The images are not on this machine.", wide=True)
    dataset = report.request.get("dataset", "")
    image_set = images(dataset, "test", int(layer.exemplars.max()) + 1)
    row = layer.models.index(network)
    if image_set is None or layer.dead[row, unit]:
        why = why_no_images(dataset) if image_set is None else "This unit responds to no image."
        return Tile((), alt=why, wide=True)
    sheet = kept(exemplar_sheet, layer, network, unit, image_set, columns, columns)
    shown = layer.exemplars[row, unit, :columns]
    kinds = ", ".join(dict.fromkeys(image_set.classes[image_set.labels[number]] for number in shown))
    values = layer.exemplar_values[row, unit, :columns]
    responses = f"activations {values[0]:.3g} to {values[-1]:.3g}".replace("-", numbers.MINUS)
    alt = f"Test images that excite unit {unit} of {SLOTS[network]} most: {kinds}"
    return Tile((f"{kinds} · {responses}",), sheet, alt, wide=True)
