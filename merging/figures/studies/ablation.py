"""Figure of a layer's units removed one by one, by what became of them in the merge."""

from __future__ import annotations

from merging.figures.figure import Figure
from merging.figures.palette import GRID, STYLES, figure
from merging.studies.ablation import Ablation
from merging.text import numbers


def ablation_figure(ablated: Ablation, fates: tuple[tuple[int, str], ...]) -> Figure:
    """Draw the mean loss that removing a unit adds to the merge, per fate, with 95 % intervals.

    fates: (unit, key of `studies.units.WORDS`) of every unit to include.
    """
    groups = ablated.by_fate(dict(fates))
    words = [f"{name} ({count} units): {numbers.loss(mean)}" for name, (count, mean, *_) in groups.items()]
    fig = figure(
        f"Loss that removing one unit of {ablated.layer} adds to the merge, in nats. {'; '.join(words)}.",
        height=300,
        x={"type": "category"},
        y={"title": "loss added (nats)", "zeroline": True, "zerolinecolor": GRID},
        showlegend=False,
    )
    values = list(groups.values())
    ends = {
        "array": [high - mean for _, mean, _, high in values],
        "arrayminus": [mean - low for _, mean, low, _ in values],
    }
    fig.add(
        "bar",
        x=[f"{name}, {count}" for name, (count, *_) in groups.items()],
        y=[mean for _, mean, _, _ in values],
        marker={"color": STYLES["merge"].color},
        error_y={"type": "data", **ends},
        hovertemplate="%{x} units: %{y:.4f} nats<extra></extra>",
        meta="ablation",
    )
    return fig
