"""Charts of answers: what a class predicted, beside the truth and one's own answer. No names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.teaching.question import LAMBDAS, Answer, Question, in_words

BINS = 12
OTHERS = {"color": STYLES["A"].color, "opacity": 0.75}
TRUTH, OWN = STYLES["merge"], STYLES["corrected"]
FAINT = 0.25  # opacity of the curves of single people


def answers_figure(
    question: Question, answers: Sequence[Answer], truth: Answer | None = None, own: Answer | None = None
) -> Figure:
    """Draw all answers to a question; the truth and one's own answer are marked where they are given.

    Raises ValueError for free texts, which are not drawn.
    """
    if question.kind == "number":
        return _numbers(question, answers, truth, own)
    if question.kind == "curve":
        return _curves(question, answers, truth, own)
    if question.kind in ("choice", "order"):
        return _options(question, answers, truth, own)
    raise ValueError("free texts are not drawn")


def describe_answers(question: Question, answers: Sequence[Answer], truth: Answer | None, own: Answer | None) -> str:
    """The chart as text."""
    parts = [f"{len(answers)} answer{'s' if len(answers) != 1 else ''}"]
    if question.kind == "number" and answers:
        parts.append(f"median {in_words(question, float(np.median(np.array(answers, float))))}")
    if question.kind in ("choice", "order"):
        parts += [f"{in_words(question, answer)}: {count}" for answer, count in Counter(answers).most_common()]
    parts += [f"the truth: {in_words(question, truth)}"] if truth is not None else []
    parts += [f"your answer: {in_words(question, own)}"] if own is not None else []
    return f"{question.prompt} {'; '.join(parts)}."


def answers_table(question: Question, answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The chart as a table: one row per bin, option or lambda."""
    if question.kind == "number":
        counts, edges = _bins(question, answers)
        return [
            {"From": f"{low:.4g}", "To": f"{high:.4g}", "Answers": int(count)}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
    if question.kind == "curve":
        table = np.array(answers, float).reshape(-1, len(LAMBDAS))
        middle = np.median(table, 0) if len(table) else np.full(len(LAMBDAS), np.nan)
        return [{"λ": at, "Median answer": float(value)} for at, value in zip(LAMBDAS, middle, strict=True)]
    counted = Counter(in_words(question, answer) for answer in answers)
    names = question.options if question.kind == "choice" else [name for name, _ in counted.most_common()]
    return [{"Answer": name, "Answers": counted[name]} for name in names]


def _bins(question: Question, answers: Sequence[Answer]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(answers, float)
    counts, edges = np.histogram(values, bins=BINS, range=(question.low, question.high))
    return counts, edges


def _numbers(question: Question, answers: Sequence[Answer], truth: Any, own: Any) -> Figure:
    counts, edges = _bins(question, answers)
    fig = figure(
        describe_answers(question, answers, truth, own),
        height=300,
        x={"title": question.unit or "answer", "range": [question.low, question.high]},
        y={"title": "answers", "rangemode": "tozero", "dtick": max(1, int(counts.max(initial=1)) // 5)},
        showlegend=False,
        bargap=0.06,
    )
    hover = "%{y} answers<extra></extra>"
    fig.add("bar", x=(edges[:-1] + edges[1:]) / 2, y=counts, marker=OTHERS, name="answers", hovertemplate=hover)
    fig.layout["margin"]["t"] = 64  # room for two lines of notes above the bars
    marks = (("truth", truth, TRUTH.line(3), 1.01), ("yours", own, {**OWN.line(2), "dash": "dash"}, 1.13))
    for word, value, line, height in marks:
        if value is not None:
            fig.add_upright(float(value), line)
            anchor = "right" if value > (question.low + question.high) / 2 else "left"
            places: dict[str, Any] = {"x": float(value), "xref": "x", "xanchor": anchor, "y": height}
            note = f"{word}: {in_words(question, value)}"
            fig.add_note(text=note, **places, yref="y domain", yanchor="bottom", font={"color": line["color"]})
    return fig


def _options(question: Question, answers: Sequence[Answer], truth: Any, own: Any) -> Figure:
    counted = Counter(in_words(question, answer) for answer in answers)
    marked = {in_words(question, one): word for one, word in ((truth, "right"), (own, "yours")) if one is not None}
    if truth is not None and truth == own:
        marked[in_words(question, truth)] = "right, and yours"
    names = list(question.options) if question.kind == "choice" else [name for name, _ in counted.most_common(8)]
    names += [name for name in marked if name not in names]
    labels = [f"{name} ({marked[name]})" if name in marked else name for name in names]
    right = None if truth is None else in_words(question, truth)
    fig = figure(
        describe_answers(question, answers, truth, own),
        height=90 + 44 * len(names),
        x={"title": "answers", "rangemode": "tozero", "dtick": max(1, max(counted.values(), default=1) // 5)},
        y={"autorange": "reversed", "type": "category"},
        showlegend=False,
    )
    fig.add(
        "bar",
        x=[counted[name] for name in names],
        y=labels,
        orientation="h",
        marker={"color": [TRUTH.color if name == right else OTHERS["color"] for name in names]},
        text=[str(counted[name]) for name in names],
        hoverinfo="skip",
    )
    return fig


def _curves(question: Question, answers: Sequence[Answer], truth: Any, own: Any) -> Figure:
    fig = figure(
        describe_answers(question, answers, truth, own),
        height=320,
        x={"title": "λ: share of B in the weights (0 = A, 1 = B)", "tickvals": list(LAMBDAS)},
        y={"title": question.unit or "answer", "range": [question.low, question.high]},
    )
    for number, answer in enumerate(answers):
        line = {"color": OTHERS["color"], "width": 1.5}
        fig.add(
            "scatter", x=LAMBDAS, y=answer, mode="lines", line=line, opacity=FAINT, name="answers", hoverinfo="skip",
            showlegend=number == 0,
        )  # fmt: skip
    for values, style, name in ((own, OWN, "your answer"), (truth, TRUTH, "the truth")):
        if values is not None:
            line = style.line(3) if name == "the truth" else {**style.line(2.5), "dash": "dash"}
            fig.add("scatter", x=LAMBDAS, y=values, mode="lines+markers", line=line, marker=style.marker(7), name=name)
    return fig
