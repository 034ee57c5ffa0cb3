"""Figure of one series of values that a method recorded (gains, checks or candidates), with the kept point marked."""

from __future__ import annotations

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.text.method_notes import Course

POINTS = 500  # points drawn per course at most: more cannot be distinguished


def course_figure(course: Course) -> Figure:
    """Draw a course as a line over its counter, or as separate points where its values have names."""
    step = -(-len(course.x) // POINTS)
    indices = {*range(0, len(course.x), step), *([] if course.chosen is None else [course.chosen])}
    places = sorted(indices)
    x: dict[str, object] = {"title": course.x_title}
    if course.words:
        x |= {"tickvals": list(course.x), "ticktext": list(course.words)}
    fig = figure(_in_words(course), height=260, x=x, y={"title": course.y_title}, showlegend=False)
    style = STYLES["aligned"]
    fig.add(
        "scatter",
        x=[course.x[place] for place in places],
        y=[course.y[place] for place in places],
        text=[course.words[place] if course.words else f"{course.x[place]:g}" for place in places],
        mode="markers" if course.words else "lines+markers",
        line=style.line(2),
        marker=style.marker(5),
        hovertemplate=f"{course.x_title} %{{text}}: %{{y:.4g}}<extra></extra>",
    )
    if course.chosen is not None:
        fig.add(
            "scatter",
            x=[course.x[course.chosen]],
            y=[course.y[course.chosen]],
            mode="markers+text",
            text=["kept"],
            textposition="top center",
            cliponaxis=False,
            marker={"color": STYLES["corrected"].color, "symbol": "circle-open", "size": 14, "line": {"width": 2.5}},
            hoverinfo="skip",
        )
    return fig


def _in_words(course: Course) -> str:
    ends = f"from {course.y[0]:.4g} to {course.y[-1]:.4g}"
    selection = ""
    if course.chosen is not None:
        name = course.words[course.chosen] if course.words else f"{course.x[course.chosen]:g}"
        selection = f"; kept: {course.x_title} {name}, {course.y[course.chosen]:.4g}"
    return f"{course.title}: {course.y_title} over {course.x_title}, {ends}{selection}."
