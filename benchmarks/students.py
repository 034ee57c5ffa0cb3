"""People of a class in the Lab as raw sessions: they draw the page, poll its fragments, click, and answer questions.

A session sends and reads the messages that a browser sends and reads, and looks at what the page shows: the step, the
widgets with their ids, the locked answer, and whether the result is shown.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import WebSocketException

from benchmarks.sessions import Session, opened

THINK = 8.0, 20.0  # seconds between two clicks
AGAIN = 2.0  # seconds after an error before a person opens the page again
STEP = re.compile(r"step (\d+) of \d+$")  # the text of the progress bar of a lesson
RESULT, ANSWER = "The result:", "Your answer:"  # what a page shows once a step is revealed, once an answer is locked
FIELDS = "radio", "slider", "multiselect", "text_area"  # elements that take an answer
View = tuple[float, int, bool]  # time, number of the step, whether its result is shown


@dataclass
class Report:
    """What one person saw.

    Attributes:
        clicks: seconds from each click until the page was drawn. A poll that is being drawn at the click counts too.
        polls: seconds of each drawing of a fragment that the page polls.
        views: what was shown since when.
        accepted: number of a step -> the answer that the page showed as locked.
        back: whether the person went back to an earlier step of their own accord.
        refused: clicks on "Lock my answer" after which no answer was locked, such as after the reveal.
        errors: everything that went wrong.
    """

    clicks: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    accepted: dict[int, str] = field(default_factory=dict)
    back: bool = False
    refused: int = 0
    errors: list[str] = field(default_factory=list)


class Person:
    """One person in a class. Subclasses say what they do: `live`, until the time `ends`."""

    def __init__(self, server: str, visitor: str, params: dict[str, str], number: int = 0) -> None:
        """Make a person with a random name in the cookie and the parameters of the address that they open."""
        self.server, self.visitor, self.params = server, visitor, params
        self.chance, self.report = random.Random(number), Report()
        self.session: Session

    async def visit(self, come: float, ends: float) -> Report:
        """Open the page at the time `come`, stay until `ends`, and open it again after an error."""
        await asyncio.sleep(max(0.0, come - time.time()))
        while time.time() < ends:
            try:
                await self._open()
                try:
                    await self._draw()
                    await self.live(ends)
                finally:
                    await self.session.socket.close()
            except (OSError, TimeoutError, WebSocketException, SystemExit, LookupError) as error:
                self.report.errors.append(f"{type(self).__name__}: {type(error).__name__} {error}")
                await asyncio.sleep(AGAIN)
        return self.report

    async def live(self, ends: float) -> None:
        """Look at the page."""
        await self.wait(ends)

    async def _open(self) -> None:
        self.screen: dict[tuple[int, ...], Element] = {}
        self.values: dict[str, WidgetState] = {}
        self.due: dict[str, float] = {}
        self.session = await opened(self.server, self.visitor)
        self.session.look = self._look
        self.session.address = "lab", self.params

    async def wait(self, until: float) -> None:
        """Draw the fragments that the page polls, each at its interval, until this time."""
        while (now := time.time()) < until:
            due = {name: at for name, at in self.due.items() if name in self.session.polls}
            fragment = min(due, key=due.__getitem__, default="")
            at = due.get(fragment, until)
            await asyncio.sleep(max(0.0, min(at, until) - now))
            if at < until:
                self.due[fragment] = max(at, now) + self.session.polls[fragment]
                self.report.polls.append(await self._draw(fragment))

    async def click(self, key: str, at: float = 0.0) -> None:
        """Click on the button with this key. at: when the person wanted to; now if it is left out."""
        button = self.find(key)
        if button is None or button.disabled:
            raise LookupError(f"the page has no button {key!r} to click on")
        await self._act(WidgetState(id=button.id, trigger_value=True), at)

    async def set(self, id: str, at: float = 0.0, **value: Any) -> None:
        """Set a widget to a value, such as string_value="yes" (what a browser sends for this kind of widget)."""
        self.values[id] = WidgetState(id=id)
        for name, one in value.items():
            if name.endswith("array_value"):
                getattr(self.values[id], name).data.extend(one)
            else:
                setattr(self.values[id], name, one)
        await self._act(self.values[id], at)

    def find(self, key: str) -> Any:
        """The widget whose key is this, or begins with it and a space; None if the page shows none."""
        return next((one for _, one in self.widgets() if f"-{key} " in f"{one.id} "), None)

    def widgets(self) -> Iterator[tuple[str, Any]]:
        """Kind and message of each widget on the page."""
        for element in self.screen.values():
            kind = element.WhichOneof("type")
            if kind in ("button", *FIELDS):
                yield kind, getattr(element, kind)

    async def _act(self, changed: WidgetState, at: float) -> None:
        begin = at or time.time()
        await self._draw(changed=changed)
        self.report.clicks.append(time.time() - begin)

    async def _draw(self, fragment: str = "", changed: WidgetState | None = None) -> float:
        """Draw the page, or a fragment of it, and note what it shows now; return the seconds."""
        states = dict(self.values) if changed is None else {**self.values, changed.id: changed}
        seconds = await self.session.go(self.session.address, fragment, states.values())
        step, shown = self.shows()
        if not self.report.views or self.report.views[-1][1:] != (step, shown):
            self.report.views.append((time.time(), step, shown))
        for text in self._texts():
            if f"**{ANSWER}** " in text and step:
                self.report.accepted[step] = text.partition(f"**{ANSWER}** ")[2]
        return seconds

    def shows(self) -> tuple[int, bool]:
        """Number of the step that the page shows (0 for none), and whether its result is there."""
        bars = (STEP.search(one.progress.text) for one in self.screen.values() if one.HasField("progress"))
        step = next((int(found[1]) for found in bars if found), 0)
        return step, any(RESULT in text for text in self._texts())

    def _texts(self) -> list[str]:
        return [one.markdown.body for one in self.screen.values() if one.HasField("markdown")]

    def _look(self, message: ForwardMsg) -> None:
        """Keep what the page shows, and when its fragments are to be drawn again."""
        kind = message.WhichOneof("type")
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            self.screen.clear()
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            self.screen[tuple(message.metadata.delta_path)] = element
            if element.HasField("exception"):
                raise SystemExit(f"the page shows {element.exception.type}: {element.exception.message}")
        elif kind == "auto_rerun":
            self.due[message.auto_rerun.fragment_id] = time.time() + message.auto_rerun.interval
        elif kind == "page_info_changed":
            self.session.address = "lab", dict(parse_qsl(message.page_info_changed.query_string))


class Student(Person):
    """A student: answers a question in two clicks, raises a hand sometimes while waiting, and looks back otherwise."""

    async def live(self, ends: float) -> None:
        """Click every THINK seconds."""
        while (at := time.time() + self.chance.uniform(*THINK)) < ends:
            await self.wait(at)
            await self._next_click(at)
        await self.wait(ends)

    async def _next_click(self, at: float) -> None:
        fields = [(kind, one) for kind, one in self.widgets() if "-answer " in one.id]
        if fields and not any(one.id in self.values for _, one in fields):
            await self._answer(*self.chance.choice(fields), at)
        elif self.find("lock"):
            await self._lock(at)
        elif self.find("way Next"):  # the student is behind the class
            await self.click("way Next", at)
            self.report.back = False
        elif self.shows()[0] in self.report.accepted and not self.shows()[1]:  # until the teacher reveals
            if self.chance.random() < 0.25:
                await self.click("hand", at)
        elif toy := self.find("toy change"):
            await self.set(toy.id, at, string_value=self.chance.choice(toy.options))
        elif self.find("way Back") and self.chance.random() < 0.5:
            self.report.back = True
            await self.click("way Back", at)

    async def _answer(self, kind: str, one: Any, at: float) -> None:
        """Give an answer, as a browser sends it; an order is chosen at once."""
        if kind == "radio":
            await self.set(one.id, at, string_value=self.chance.choice(one.options))
        elif kind == "slider":
            places = round((one.max - one.min) / one.step)
            await self.set(one.id, at, double_array_value=[one.min + one.step * self.chance.randint(0, places)])
        elif kind == "multiselect":
            order = self.chance.sample(list(one.options), len(one.options))
            await self.set(one.id, at, string_array_value=order)
        else:
            await self.set(one.id, at, string_value=f"A permutation changes nothing, I think: {self.chance.random()}")

    async def _lock(self, at: float) -> None:
        step = self.shows()[0]
        await self.click("lock", at)
        self.report.refused += step not in self.report.accepted
