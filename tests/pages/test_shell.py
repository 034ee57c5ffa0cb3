import asyncio
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import streamlit as st

from merging.jobs.ledger.ledger import Ledger
from merging.paths import ROOT
from tests.pages.ledgers import done
from ui.shell import middleware, server
from ui.shell.middleware import COOKIE, Border, chart_scripts
from ui.shell.words import WORDS

EVERY_PAGE = """
import sys
from streamlit.testing.v1 import AppTest
import app
for page in ("merge", "similarity", "neurons", "models", "jobs", "words"):
    shown = AppTest.from_file("ui/main.py", default_timeout=60)
    shown.query_params["run"] = sys.argv[1]
    if page != "merge":
        shown.switch_page(f"../pages/{page}.py")
    shown.run()
    assert not shown.exception, (page, shown.exception)
heavy = {"torch", "ray", "lucent", "torchvision"} & set(sys.modules)
sys.stdout.write("heavy: " + ",".join(sorted(heavy)))
"""


def test_the_web_process_imports_neither_torch_nor_ray_nor_lucent(tmp_path):
    (tmp_path / "every_page.py").write_text(EVERY_PAGE.replace('"ui/main.py"', repr(str(ROOT / "ui" / "main.py"))))
    run = done(Ledger(tmp_path))
    environment = {**os.environ, "MERGESCOPE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(tmp_path / "every_page.py"), run[:12]]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("heavy: ")


def answer(scope, wanted=b"set-cookie", inner_headers=()):
    """The headers of one name that a browser gets through the middleware."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": list(inner_headers)})

    async def send(message):
        sent.append(message)

    async def run():
        await Border(app)({"path": "/", "client": ("127.0.0.1", 1), **scope}, None, send)

    asyncio.run(run())
    return [value.decode() for name, value in sent[0]["headers"] if name == wanted]


def test_a_visitor_gets_one_random_cookie_that_scripts_cannot_read():
    first, second = (answer({"type": "http", "headers": []})[0] for _ in range(2))
    assert "HttpOnly" in first
    assert "SameSite=Lax" in first
    assert "Secure" not in first
    name, value = first.split(";")[0].split("=")
    assert len(value) == 32
    assert first != second
    assert answer({"type": "http", "headers": [(b"cookie", f"{name}={value}".encode())]}) == []


@pytest.mark.parametrize("foreign", ["a/b=1", 'x={"a": 1}', "novalue", "u@h=1", "a=b c"])
def test_other_programs_cookies_on_the_same_host_neither_break_nor_hide_it(foreign):
    mine = f"{COOKIE}={'0' * 32}"
    assert answer({"type": "http", "headers": [(b"cookie", f"{foreign}; {mine}".encode())]}) == []
    assert len(answer({"type": "http", "headers": [(b"cookie", foreign.encode())]})) == 1


def test_a_malformed_name_is_replaced():
    assert len(answer({"type": "http", "headers": [(b"cookie", f"{COOKIE}=me".encode())]})) == 1


def test_the_cookie_is_secure_behind_https():
    assert "Secure" in answer({"type": "http", "headers": [], "scheme": "https"})[0]


def test_a_page_tells_the_browser_to_fetch_the_chart_script_early():
    html = [(b"content-type", b"text/html; charset=utf-8")]
    (link,) = answer({"type": "http", "headers": []}, b"link", html)
    assert len(chart_scripts()) == 1
    assert link == f"<./static/js/{chart_scripts()[0]}>; rel=modulepreload; crossorigin"
    assert answer({"type": "http", "headers": []}, b"link", [(b"content-type", b"text/css")]) == []


def test_health_tells_how_the_dispatcher_is():
    shell = server.Shell()
    assert b"elsewhere" in asyncio.run(shell.health(None)).body
    shell.child = SimpleNamespace(poll=lambda: None)
    assert b"running" in asyncio.run(shell.health(None)).body
    shell.child = SimpleNamespace(poll=lambda: 1)
    assert b"stopped" in asyncio.run(shell.health(None)).body


def test_no_dispatcher_is_started_where_one_runs_elsewhere(monkeypatch):
    monkeypatch.setenv("MERGESCOPE_DISPATCHER", "none")
    monkeypatch.setattr(server, "start_dispatcher", lambda: 1 / 0)
    shell = server.Shell()

    async def live():
        async with shell.lifespan(None):
            return shell.child

    assert asyncio.run(live()) is None


def test_a_dispatcher_that_is_gone_is_started_anew(monkeypatch):
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.delenv("MERGESCOPE_DISPATCHER", raising=False)
    monkeypatch.setattr(server, "start_dispatcher", start)
    monkeypatch.setattr(server, "LOOK", 0.02)
    shell = server.Shell()

    async def live():
        async with shell.lifespan(None):
            for number in (1, 2):
                started[-1].kill()
                while len(started) == number:
                    await asyncio.sleep(0.02)
            assert b"running" in (await shell.health(None)).body

    asyncio.run(asyncio.wait_for(live(), 20))
    assert [child.poll() is not None for child in started] == [True] * 3


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_app_ends_with_whoever_holds_its_stdin():
    code = "import time; from ui.shell.server import end_with_stdin; end_with_stdin(); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT)
    child.stdin.close()
    assert child.wait(20) == -signal.SIGTERM


def test_the_dispatcher_ends_when_its_pipe_closes():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    server.stop_dispatcher(child)
    assert child.returncode == 0


def test_an_unforeseen_error_is_a_sentence_and_no_traceback(monkeypatch):
    said = []
    monkeypatch.setattr(st, "error", lambda text, **_: said.append(text))
    assert server.say_sorry(KeyError("secret path")) is True
    assert "secret" not in said[0]


def test_the_glossary_speaks_in_sentences():
    for word, text in WORDS.items():
        assert text.endswith("."), word
        assert len(text) < 240, word


def ask(gate, path="/", host="localhost:8501", client="127.0.0.1", method="GET", size=None, status=200, cookie=""):
    """Status, headers and body of what a browser gets."""
    headers = [(b"host", host.encode())] + ([] if size is None else [(b"content-length", str(size).encode())])
    headers += [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "client": (client, 1)}
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    async def send(message):
        sent.append(message)

    asyncio.run(gate(app)(scope, None, send) if isinstance(gate, type) else gate(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()


@pytest.mark.parametrize("platform, asked", [("linux", 1), ("win32", 0), ("darwin", 0)])
def test_only_glibc_is_asked_for_one_heap(monkeypatch, platform, asked):
    """On Windows, no library can be opened without a name."""
    opened = []
    monkeypatch.setattr(server.sys, "platform", platform)
    monkeypatch.setattr(server.ctypes, "CDLL", lambda name: opened.append(name) or SimpleNamespace())
    server.share_one_heap()
    assert len(opened) == asked


def test_every_answer_says_what_a_page_may_do(monkeypatch):
    monkeypatch.delenv("MERGESCOPE_FRAMES", raising=False)
    _, headers, _ = ask(Border)
    policy = headers[b"content-security-policy"].decode()
    assert "img-src 'self' data: blob:;" in policy and "object-src 'none'" in policy
    assert policy.endswith("frame-ancestors 'self'") and headers[b"x-frame-options"] == b"SAMEORIGIN"
    assert headers[b"referrer-policy"] == b"same-origin" and headers[b"x-content-type-options"] == b"nosniff"
    monkeypatch.setenv("MERGESCOPE_FRAMES", "https://course.example; script-src *")
    _, headers, _ = ask(Border)
    policy = headers[b"content-security-policy"].decode()
    assert policy.endswith("frame-ancestors 'self' https://course.example script-src *")  # and no directive of its own
    assert b"x-frame-options" not in headers


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        *[("localhost:8501", True), ("127.0.0.1", True), ("LOCALHOST:8501", True), ("localhost.:8501", True)],
        *[("evil.example:8501", False), ("localhost.evil.example", False)],
    ],
)
def test_alone_only_this_machine_s_own_names_are_answered(monkeypatch, host, answered):
    monkeypatch.setattr(middleware.config, "get_option", lambda name: ["localhost", "127.0.0.1"])
    for path in ("/", "/health", "/_stcore/upload_file/a/b"):
        assert (ask(Border, path, host)[0] == 200) == answered


@pytest.mark.parametrize("below", [False, True])
def test_what_tells_of_the_machine_is_told_on_the_machine_alone(monkeypatch, below):
    base = "/course" if below else ""
    options = {"server.baseUrlPath": base.strip("/"), "server.allowedHosts": []}
    monkeypatch.setattr(middleware.config, "get_option", options.__getitem__)
    for path in (f"{base}/health", f"{base}/_stcore/metrics"):
        assert ask(Border, path, "host:1", "127.0.0.1")[0] == 200
        assert ask(Border, path, "host:1", "192.0.2.7")[0] == 403
    assert ask(Border, f"{base}/_stcore/health", "host:1", "192.0.2.7")[0] == 200  # which every page asks for


@pytest.mark.parametrize(
    ("path", "accept", "method", "known"),
    [
        ("/", "text/html", "GET", True),
        ("/why", "text/html", "GET", True),
        ("/jobs", "text/html,*/*", "GET", True),
        ("/static/js/x.js", "text/html", "GET", True),
        ("/nothing", "text/html", "GET", False),
        ("/a/b", "text/html", "GET", False),
        ("/nothing", "application/json", "GET", True),
        ("/nothing", "text/html", "HEAD", True),
    ],
)
def test_an_address_without_a_page_shows_a_page_of_ours(path, accept, method, known):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"accept", accept.encode())]
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "client": ("127.0.0.1", 1)}
    asyncio.run(Border(app)(scope, None, send))
    assert sent[0]["status"] == (200 if known else 404)
    assert known or b"No such page" in sent[1]["body"]


@pytest.mark.parametrize(
    ("origin", "let_in"), [("http://localhost:8501", True), ("null", True), ("http://[::1", False)]
)
def test_a_connection_from_what_is_no_address_is_closed(origin, let_in):
    sent, asked = [], []

    async def app(scope, receive, send):
        asked.append(scope)

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"origin", origin.encode())]}
    asyncio.run(Border(app)(scope, None, send))
    assert bool(asked) == let_in
    assert sent == ([] if let_in else ["websocket.close"])


def test_a_connection_that_sends_text_ends_before_streamlit_sees_it():
    incoming = [{"type": "websocket.receive", "bytes": b"x"}, {"type": "websocket.receive", "text": "hello"}]
    received = []

    async def app(scope, receive, send):
        received.extend([await receive(), await receive()])

    async def receive():
        return incoming.pop(0)

    headers = [(b"origin", b"http://localhost:8501")]
    asyncio.run(Border(app)({"type": "websocket", "path": "/_stcore/stream", "headers": headers}, receive, None))
    assert received == [{"type": "websocket.receive", "bytes": b"x"}, {"type": "websocket.disconnect", "code": 1003}]
