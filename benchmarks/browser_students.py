"""Students of a class in the Lab as real Chromium pages, in a process of their own: they click as people do."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.sessions import APART, SORRY
from benchmarks.students import ANSWER, RESULT, THINK, Report
from merging.teaching.lesson import Lesson, lessons

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, WebSocket

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PROGRESS = re.compile(r"step \d+ of \d+")
EARLY = ForwardMsg.FINISHED_EARLY_FOR_RERUN
PATIENCE = 30_000  # milliseconds for one click
WATCH = f"""
window.stepNow = () => {{
    const state = document.querySelector("[data-testid=stApp]")?.dataset.testScriptState;
    const found = document.querySelector("[data-testid=stMain]")?.textContent.match(/step (\\d+) of \\d+/);
    return state === "notRunning" && found ? Number(found[1]) : 0;
}};
window.views = []; window.accepted = {{}}; window.failed = "";
setInterval(() => {{
    const app = document.querySelector("[data-testid=stApp]"), main = document.querySelector("[data-testid=stMain]");
    if (!main || app.dataset.testScriptState !== "notRunning") return;
    const text = main.textContent, step = stepNow(), shown = text.includes("{RESULT}"), last = window.views.at(-1);
    if (!last || last[1] !== step || last[2] !== shown) window.views.push([Date.now() / 1000, step, shown]);
    for (const one of main.querySelectorAll("[data-testid=stMarkdown]"))
        if (step && one.textContent.includes("{ANSWER}"))
            window.accepted[step] = one.textContent.split("{ANSWER}")[1].trim();
    if (text.includes("{SORRY}")) window.failed = text.slice(text.indexOf("{SORRY}"), 300);
}}, 200);
"""


def chromium() -> str:
    """The Chromium of this computer; "" if there is none, or playwright is not installed."""
    try:
        import playwright.async_api  # noqa: F401
    except ImportError:
        return ""
    found = os.environ.get("MERGESCOPE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return found or ""


def browse(server: str, code: str, lesson: str, visitors: list[str], ends: float) -> tuple[list[Report], float]:
    """Let visitors (random names in cookies) take part in a class until a time; return also the processor's seconds."""
    reports = asyncio.run(_browse(server, code, lessons()[lesson], visitors, ends))
    return reports[0], reports[1]


async def _browse(
    server: str, code: str, lesson: Lesson, visitors: list[str], ends: float
) -> tuple[list[Report], float]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        tabs = [Tab(browser, lesson, number) for number in range(len(visitors))]
        address = f"{server}/lab?class={code}"
        await asyncio.gather(*(tab.visit(address, visitor, ends) for tab, visitor in zip(tabs, visitors, strict=True)))
        own = psutil.Process()
        times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
        await browser.close()
    return [tab.report for tab in tabs], sum(one.user + one.system for one in times)


class Tab:
    """One student in a window with cookies of its own."""

    def __init__(self, browser: Browser, lesson: Lesson, number: int) -> None:
        """Make a student whose random choices depend on the number."""
        self.browser, self.lesson, self.number = browser, lesson, number
        self.chance, self.report = random.Random(1000 + number), Report()
        self.page: Page
        self.sent = 0.0  # time at which a click was sent that is not drawn yet
        self.drawing = False  # whether the page is being drawn for it
        self.ready = False  # whether the page is open, so that messages are clicks
        self.sockets, self.chosen = 0, 0  # number of connections; the step whose answer was chosen last

    async def visit(self, address: str, visitor: str, ends: float) -> None:
        """Open the page and click every THINK seconds until `ends`."""
        from playwright.async_api import Error

        await asyncio.sleep(self.number * APART)
        context = await self.browser.new_context(viewport={"width": 1280, "height": 900})
        await context.add_cookies([{"name": "mergescope_owner", "value": visitor, "url": address}])
        await context.add_init_script(WATCH)
        self.page = await context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.report.errors.append(f"Tab: page error {error}"))
        self.page.on("websocket", self._connected)
        try:
            await self.page.goto(address)
            await self.page.get_by_text(PROGRESS).wait_for()
            self.ready = True
        except Error as error:
            self.report.errors.append(f"Tab: {error}")
        while (left := ends - time.time()) > 0:
            await asyncio.sleep(min(left, self.chance.uniform(*THINK)))
            step = 0
            try:
                step = await self._step()
                if step and time.time() < ends:
                    await self._next_click(step)
            except Error as error:
                with suppress(Error):
                    if await self._step() not in (0, step):  # the teacher went on before the click
                        continue
                self.report.errors.append(f"Tab: {error}")
        try:
            await self._collect()
        except Error as error:
            self.report.errors.append(f"Tab: {error}")
        await context.close()

    async def _step(self) -> int:
        """Number of the step on the page; 0 for none, and while it is being drawn."""
        return int(await self.page.evaluate("stepNow()"))

    async def _next_click(self, step: int) -> None:
        lock = self.page.get_by_role("button", name="Lock my answer")
        ahead = self.page.get_by_role("button", name="Next", exact=True)
        question = self.lesson.steps[step - 1].question
        if await lock.count() and question is not None:
            if self.chosen == step:
                await lock.click()
                await asyncio.sleep(1)
                self.report.refused += await lock.count()
            else:
                await self._answer(question)
                self.chosen = step
        elif await ahead.count():
            await ahead.click()
        elif self.chance.random() < 0.25:
            await self.page.get_by_role("button", name="my hand").click()

    async def _answer(self, question: Any) -> None:
        """Choose or write an answer; Streamlit sends it."""
        if question.kind == "choice":
            group = self.page.get_by_role("radiogroup", name="Your answer")
            await group.get_by_text(self.chance.choice(question.options), exact=True).click()
        elif question.kind == "order":
            field = self.page.get_by_role("combobox")
            for _ in question.options:  # the first one that is left
                await field.press("ArrowDown")
                await field.press("Enter")
                await asyncio.sleep(0.5)
            await field.press("Escape")
        elif question.kind == "text":
            field = self.page.get_by_role("textbox", name="Your answer")
            await field.fill("The order of hidden units has no meaning.")
            await field.press("Control+Enter")
        else:
            slider = self.page.get_by_role("slider").first
            await slider.press(self.chance.choice(["ArrowRight", "ArrowLeft"]))

    async def _collect(self) -> None:
        """Read what the page has shown."""
        seen = await self.page.evaluate("[window.views, window.accepted, window.failed]")
        self.report.views = [(at, step, shown) for at, step, shown in seen[0]]
        self.report.accepted = {int(step): words for step, words in seen[1].items()}
        if seen[2]:
            self.report.errors.append(f"Tab: {seen[2]}")

    def _connected(self, socket: WebSocket) -> None:
        if "/_stcore/stream" not in socket.url:
            return
        self.sockets += 1
        if self.sockets > 1:
            self.report.errors.append("Tab: the connection was lost and made again")
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)

    def _sent(self, data: str | bytes) -> None:
        if not isinstance(data, bytes) or not self.ready:
            return
        message = BackMsg.FromString(data)
        if message.WhichOneof("type") == "rerun_script" and not message.rerun_script.is_auto_rerun:
            self.sent, self.drawing = time.time(), False

    def _received(self, data: str | bytes) -> None:
        if not isinstance(data, bytes) or not self.sent:
            return
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            self.drawing = True
        elif kind == "script_finished" and self.drawing and message.script_finished != EARLY:
            self.report.clicks.append(time.time() - self.sent)
            self.sent = 0.0
