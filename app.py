"""The web app, started with `streamlit run app.py`.

It also starts the dispatcher, which gives jobs to workers, and identifies every visitor by an anonymous cookie.
"""

from __future__ import annotations

import os
import sys

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from merging.errors import MergescopeError
from merging.jobs.limits import from_environment
from ui.shell.lasting import keep_downloads
from ui.shell.middleware import Border
from ui.shell.server import Shell, say_sorry, share_one_heap
from ui.shell.uploads import Uploads

try:
    from_environment()
except MergescopeError as error:  # one line for the person who starts the app, without a traceback
    sys.exit(str(error))
os.umask(0o077)  # only this user may read the files: they hold visitors' networks, images and requests
share_one_heap()
keep_downloads()
shell = Shell()
app = st.App(
    "ui/main.py",
    lifespan=shell.lifespan,
    routes=[Route("/health", shell.health)],
    middleware=[Middleware(Border), Middleware(Uploads)],
    on_script_error=say_sorry,
)
