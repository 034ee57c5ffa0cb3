"""Lab page: lessons on linear mode connectivity, alone or in a class."""

from __future__ import annotations

import streamlit as st

from ui.shell.address import said
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.teaching.lesson_view import lesson_view
from ui.teaching.lobby import join_form, key_form, lobby
from ui.teaching.projector import projector
from ui.teaching.seat import BOARD, CLASS, VIEW, current, find_seat, leave
from ui.teaching.student import student_view
from ui.teaching.takehome import worksheet_downloads
from ui.teaching.teacher import teacher_view

SCREEN = {"title": "Lab", "icon": ":material/school:", "order": 35, "menu": True}

with show_errors():
    seat = find_seat()
    where = current(seat)
    if seat.lab is None and said(CLASS):
        st.warning("There is no class with this code. Check the code. A class is deleted 30 days after it was opened.")
    if seat.lab is not None and seat.teaches and said(VIEW) == BOARD:
        projector(seat)
    elif seat.lab is not None and not seat.teaches and seat.student is None:
        st.markdown(f"### {plain(seat.lab.title)}", anchors=False)
        join_form()
        key_form(seat.lab)
    elif where is None and seat.lab is not None:
        st.warning("None of the lessons of this class is on this machine any more.", icon=":material/history:")
        st.button("All lessons", icon=":material/arrow_back:", on_click=leave)
    elif where is None:
        st.markdown("### Lab: linear mode connectivity", anchors=False)
        lobby(seat)
    elif seat.teaches:
        teacher_view(seat, *where)
    elif seat.student is not None:
        student_view(seat, *where)
    else:
        with st.container(horizontal=True):
            st.button("All lessons", icon=":material/arrow_back:", on_click=leave)
            worksheet_downloads(seat)
        with st.container(key="lesson"):
            lesson_view(seat, *where)
