"""How large a file may be that is uploaded: one setting, for the form and for the server."""

from __future__ import annotations

import asyncio

import pytest
from streamlit import config

from ui.shell import server


@pytest.mark.parametrize(("said", "megabytes"), [("", 120), ("1500", 1500)])
def test_the_form_and_the_server_take_files_of_the_size_that_is_set(
    ledger, open_page, monkeypatch: pytest.MonkeyPatch, said: str, megabytes: int
) -> None:
    monkeypatch.setenv("MERGESCOPE_UPLOAD_MB", said)
    monkeypatch.setenv("MERGESCOPE_DISPATCHER", "none")
    before = config.get_option("server.maxUploadSize")

    async def allowed() -> object:
        async with server.Shell().lifespan(None):
            return config.get_option("server.maxUploadSize")

    try:
        assert asyncio.run(allowed()) == megabytes
    finally:
        config.set_option("server.maxUploadSize", before)
    app = open_page("models")
    assert app.file_uploader[0].proto.max_upload_size_mb == megabytes
