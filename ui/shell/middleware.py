"""The border to browsers: who is answered, what a page may do, and the visitor's cookie."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

COOKIE = "mergescope_owner"
YEAR = 365 * 24 * 3600
LOCAL = ("127.0.0.1", "::1")
OF_THE_MACHINE = ("/health", "/_stcore/metrics")  # what tells of the server and not of a page
POLICY = (  # Plotly draws with styles of its own and compiles code; pictures and fonts are part of the page
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self' {}"
)


class Border:
    """ASGI middleware. A visitor without one gets a random name in an HttpOnly cookie, for "my jobs" and caps; with a
    page the browser is told what the page may do, and to fetch the script that draws charts at once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.early = ", ".join(f"<./static/js/{name}>; rel=modulepreload; crossorigin" for name in chart_scripts())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where it may be answered; add the headers to the answer."""
        if scope["type"] == "websocket" and not _names_an_origin(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not is_answered(scope):
            refused = PlainTextResponse("This address is not answered under that name.", 403)
            await refused(scope, receive, send)
            return

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

        await self.app(scope, receive, with_headers)


def page_headers() -> dict[str, str]:
    """What every answer says. MERGESCOPE_FRAMES: sites whose pages may show the app in a frame, for courses."""
    frames = " ".join(os.environ.get("MERGESCOPE_FRAMES", "").replace(";", " ").split())
    headers = {
        "content-security-policy": POLICY.format(frames).strip(),
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    return headers if frames else {**headers, "x-frame-options": "SAMEORIGIN"}


def is_answered(scope: Scope) -> bool:
    """Whether the request names a host that is ours, as far as those are known; and what tells of the machine is asked
    for on the machine."""
    allowed = config.get_option("server.allowedHosts")
    host = Headers(scope=scope).get("host", "").rsplit("]", 1)
    name = f"{host[0]}]".strip("[]") if len(host) > 1 else host[0].rsplit(":", 1)[0]
    if allowed and name not in allowed:
        return False
    return scope["path"] not in OF_THE_MACHINE or (scope.get("client") or ("", 0))[0] in LOCAL


def _names_an_origin(scope: Scope) -> bool:
    """Whether the page that a connection comes from can be read at all; which are let in, Streamlit decides."""
    try:
        urlsplit(Headers(scope=scope).get("origin", ""))
    except ValueError:
        return False
    return True


def chart_scripts() -> list[str]:
    """The files in which Streamlit keeps what draws Plotly charts (4.7 MB); empty where it keeps them elsewhere."""
    folder = Path(st.__file__).parent / "static" / "static" / "js"
    return sorted(path.name for path in folder.glob("PlotlyChart.*.js"))


def _is_known(scope: Scope) -> bool:
    """Whether the visitor's cookies hold a good name. Other programs' cookies on this host may be malformed, and
    http.cookies drops all of them, or raises, for one that is."""
    given = next((value for name, value in scope["headers"] if name == b"cookie"), b"").decode("latin-1")
    return re.search(rf"(?:^|;\s*){COOKIE}=[0-9a-f]{{32}}(?:;|$)", given) is not None


def _new_cookie(scope: Scope) -> str:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{COOKIE}={secrets.token_hex(16)}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax{secure}"
