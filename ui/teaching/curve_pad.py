"""A pad on which a student draws a curve over lambda with the pointer. Sliders beside it do the same by keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import streamlit as st

from merging.errors import InvalidRequest
from merging.paths import ASSETS
from merging.teaching.question import LAMBDAS, Question, in_words


@lru_cache(maxsize=1)
def _component() -> Any:
    return st.components.v2.component("mergescope_curve_pad", js=(ASSETS / "curve_pad.js").read_text("utf-8"))


def curve_pad(question: Question, values: Sequence[float], key: str, sliders: Sequence[str]) -> None:
    """Draw the pad.

    Args:
        question: a question whose answer is a curve.
        values: the value at each of LAMBDAS.
        key: session-state key of the pad.
        sliders: session-state keys of the sliders, which take the values that were drawn.
    """

    def take() -> None:
        try:
            drawn: Any = question.checked(st.session_state[key].drawn)
        except InvalidRequest:  # not sent by this pad
            return
        st.session_state.update(dict(zip(sliders, drawn, strict=True)))

    unit = f", {question.unit}" if question.unit else ""
    label = f"Your curve: {in_words(question, tuple(values))}"
    bounds = {"low": question.low, "high": question.high, "step": question.step}
    data = {"places": LAMBDAS, "values": list(values), "unit": unit, "label": label, **bounds}
    _component()(key=key, data=data, on_drawn_change=take)
