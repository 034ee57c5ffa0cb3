"""The web app: `streamlit run app.py`. Starts the dispatcher beside it and gives every visitor an anonymous owner."""

from __future__ import annotations

import os
import sys

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from merging.errors import MergescopeError
from merging.jobs.limits import from_environment
from ui.shell.middleware import Border
from ui.shell.server import Shell, say_sorry, share_one_heap
from ui.shell.uploads import Uploads

try:
    from_environment()
except MergescopeError as error:  # one line for who starts it, and no traceback
    sys.exit(str(error))
os.umask(0o077)  # files are for this user alone: they hold what people bring and ask for
share_one_heap()
shell = Shell()
app = st.App(
    "ui/main.py",
    lifespan=shell.lifespan,
    routes=[Route("/health", shell.health)],
    middleware=[Middleware(Border), Middleware(Uploads)],
    on_script_error=say_sorry,
)
