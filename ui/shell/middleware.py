"""ASGI middleware: accepted hosts, security headers of pages, and the visitor's cookie."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from ui.shell.screens import MENU, SCREENS

COOKIE = "mergescope_owner"
YEAR = 365 * 24 * 3600
LOCAL = ("127.0.0.1", "::1")
OF_THE_MACHINE = ("/health", "/_stcore/metrics")  # routes that report on the server; only this machine may read them
POLICY = (  # Plotly needs inline styles and eval; components' scripts are blobs; pictures and fonts are in the page
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self' {}"
)

OURS = ("_stcore", "health", "static", "media", "component", "app")  # addresses of the server that are not pages
UNKNOWN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>No such page · Mergescope</title>
<meta name="viewport" content="width=device-width"><style>body{{font-family:sans-serif;max-width:36rem;margin:4rem auto;
padding:0 1rem;color-scheme:light dark;color:CanvasText;background:Canvas}}</style></head><body><h1>No such page</h1>
<p>Mergescope has no page at this address. The address may be mistyped or incomplete. These pages exist:</p>
<ul>{}</ul></body></html>"""


class Border:
    """ASGI middleware for every request.

    A visitor without a cookie gets a random name in an HttpOnly cookie, by which their jobs are found and limited.
    Every response carries the security headers; an HTML page also makes the browser load the chart script at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.early = ", ".join(f"<./static/js/{name}>; rel=modulepreload; crossorigin" for name in chart_scripts())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on and add the headers to the answer."""
        if scope["type"] == "websocket" and not _names_an_origin(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, _only_bytes(receive), send)
            return
        if not is_answered(scope):
            refused = PlainTextResponse(
                "This server does not accept that host name, or it answers requests for this address only from its own "
                "machine.",
                403,
                page_headers(),
            )
            await refused(scope, receive, send)
            return

        answer = unknown_page if is_unknown_page(scope) else self.app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if not _is_known(scope):
                    headers.append("set-cookie", _new_cookie(scope))
                for name, value in page_headers().items():
                    headers.setdefault(name, value)
                if self.early and headers.get("content-type", "").startswith("text/html"):
                    headers.append("link", self.early)
            await send(message)

        await answer(scope, receive, with_headers)


def _only_bytes(receive: Receive) -> Receive:
    """End a websocket that sends text: Streamlit's messages are bytes, and it logs a traceback for each text."""

    async def receive_bytes() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and message.get("bytes") is None:
            return {"type": "websocket.disconnect", "code": 1003}
        return message

    return receive_bytes


def is_unknown_page(scope: Scope) -> bool:
    """Whether a browser opens an address at which there is no page."""
    if scope.get("method") != "GET" or "text/html" not in Headers(scope=scope).get("accept", ""):
        return False
    name = scope["path"].removeprefix(_base()).strip("/")
    return not (name in ("", *SCREENS) or name.split("/")[0] in OURS)


async def unknown_page(scope: Scope, receive: Receive, send: Send) -> None:
    """The page for unknown addresses."""
    base = _base()
    links = "".join(
        f'<li><a href="{base}/{"" if key == "merge" else key}">{SCREENS[key].title}</a></li>' for key in MENU
    )
    await HTMLResponse(UNKNOWN.format(links), 404)(scope, receive, send)


def _base() -> str:
    """The path below which the app is served, such as "/mergescope"; "" for the root."""
    path = str(config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}" if path else ""


def page_headers() -> dict[str, str]:
    """Security headers of every answer. MERGESCOPE_FRAMES: sites that may show the app in a frame, as courses do."""
    frames = " ".join(os.environ.get("MERGESCOPE_FRAMES", "").replace(";", " ").split())
    headers = {
        "content-security-policy": POLICY.format(frames).strip(),
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    return headers if frames else {**headers, "x-frame-options": "SAMEORIGIN"}


def is_answered(scope: Scope) -> bool:
    """Whether the request names an allowed host; if none is configured, any host is allowed.

    Routes that report on the server are answered only if the request comes from this machine.
    """
    allowed = config.get_option("server.allowedHosts")
    host = Headers(scope=scope).get("host", "").rsplit("]", 1)
    name = f"{host[0]}]".strip("[]") if len(host) > 1 else host[0].rsplit(":", 1)[0]
    if allowed and name.lower().removesuffix(".") not in map(str.lower, allowed):
        return False
    return scope["path"].removeprefix(_base()) not in OF_THE_MACHINE or (scope.get("client") or ("", 0))[0] in LOCAL


def _names_an_origin(scope: Scope) -> bool:
    """Whether the Origin header can be parsed. Streamlit decides which origins are accepted."""
    try:
        urlsplit(Headers(scope=scope).get("origin", ""))
    except ValueError:
        return False
    return True


def chart_scripts() -> list[str]:
    """Names of Streamlit's script files for Plotly charts (4.7 MB); empty where Streamlit stores them elsewhere."""
    folder = Path(st.__file__).parent / "static" / "static" / "js"
    return sorted(path.name for path in folder.glob("PlotlyChart.*.js"))


def _is_known(scope: Scope) -> bool:
    """Whether the visitor's cookies hold a valid name.

    `http.cookies` is not used: it drops all cookies, or raises, if another program on this host set a malformed one.
    """
    cookies = next((value for name, value in scope["headers"] if name == b"cookie"), b"").decode("latin-1")
    return re.search(rf"(?:^|;\s*){COOKIE}=[0-9a-f]{{32}}(?:;|$)", cookies) is not None


def _new_cookie(scope: Scope) -> str:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{COOKIE}={secrets.token_hex(16)}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax{secure}"
