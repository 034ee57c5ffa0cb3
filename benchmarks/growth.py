"""Growth of the time of alignment with width and depth: python -m benchmarks.growth

Random MLPs on 500 random images, one thread; each point is the median of three runs, or of fewer once these took five
seconds. Writes docs/growth.svg, and the numbers as a table.
"""

from __future__ import annotations

import statistics
import time
from math import log10
from typing import Any

import torch
from torch import nn

from benchmarks.timing import table, write
from merging.methods.problem import Problem
from merging.methods.registry import find
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.tracing.tracer import trace_graph
from merging.paths import ROOT
from merging.settings import read_settings

WIDTHS, DEPTHS = (128, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)
DEPTH, WIDTH, IMAGES = 3, 256, 500
METHODS: dict[str, dict[str, Any]] = {
    "weight-matching": {"restarts": 1, "sweeps": 2},
    "activation-matching": {"images": IMAGES},
    "optimal-transport": {},
    "cca": {"images": IMAGES, "gamma": 0.1},
    "zipit": {"images": IMAGES, "choose": False},
}
COLORS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00")
OUT = ROOT / "docs" / "growth.svg"


def main() -> None:
    """Measure, write the table and the figure."""
    torch.set_num_threads(1)
    wide = {key: [seconds(key, DEPTH, width) for width in WIDTHS] for key in METHODS}
    deep = {key: [seconds(key, depth, WIDTH) for depth in DEPTHS] for key in METHODS}
    for label, places, series in (("width", WIDTHS, wide), ("depth", DEPTHS, deep)):
        rows = [[key, *(f"{value:.3g}" for value in values)] for key, values in series.items()]
        write(table([f"seconds by {label}", *map(str, places)], rows) + "\n")
    panels = (
        panel(wide, WIDTHS, f"width of {DEPTH} hidden layers", 0),
        panel(deep, DEPTHS, f"hidden layers of {WIDTH} units", 430),
    )
    size = 'viewBox="0 0 860 340" font-family="sans-serif" font-size="12"'
    OUT.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(panels)}</svg>\n', "utf-8")


def seconds(key: str, depth: int, width: int) -> float:
    """Median processor seconds of aligning two random MLPs, without tracing."""
    models = tuple(dense(seed, depth, width) for seed in (0, 1))
    images = torch.rand(IMAGES, width, generator=torch.Generator().manual_seed(0))
    graph = export(models[0], images[:2])
    data = Batches(images, torch.arange(IMAGES) % 10)
    problem = Problem(models, graph, trace_graph(graph), data=data, aligned=models)
    method = find("align", key)
    settings: Any = read_settings(method.settings, METHODS[key])
    times: list[float] = []
    while len(times) < 3 and sum(times) < 5:
        begin = time.process_time()
        method.run(problem, settings)
        times.append(time.process_time() - begin)
    return statistics.median(times)


def dense(seed: int, depth: int, width: int) -> nn.Module:
    """A random MLP of `depth` hidden layers of `width` units."""
    torch.manual_seed(seed)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10)).eval()


def panel(found: dict[str, list[float]], places: tuple[int, ...], title: str, left: int) -> str:
    """SVG of one plot with logarithmic axes; the y axis goes from 1 ms to 1,000 s."""

    def at(number: int, value: float) -> tuple[float, float]:
        return left + 60 + 330 * number / (len(places) - 1), 290 - 250 * (log10(max(value, 1e-3)) + 3) / 6

    grid = [(power, at(0, 10.0**power)[1]) for power in range(-3, 4)]
    parts = [f'<path d="M{left + 60} {y:.0f}h330" stroke="#ccc"/>' for _, y in grid]
    parts += [f'<text x="{left + 52}" y="{y + 4:.0f}" text-anchor="end" fill="#777">1e{p} s</text>' for p, y in grid]
    for number, place in enumerate(places):
        parts.append(f'<text x="{at(number, 1)[0]:.0f}" y="308" text-anchor="middle" fill="#777">{place}</text>')
    parts.append(f'<text x="{left + 225}" y="330" text-anchor="middle" fill="#777">{title}</text>')
    for line, ((key, values), color) in enumerate(zip(found.items(), COLORS, strict=True)):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(n, value) for n, value in enumerate(values)))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 68}" y="{54 + 16 * line}" fill="{color}">{key}</text>')
    return "".join(parts)


if __name__ == "__main__":
    main()
