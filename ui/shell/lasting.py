"""Downloads that last: a file that was made for a click stays until the browser has fetched it."""

from __future__ import annotations

import time

from streamlit.runtime import memory_media_file_storage as store
from streamlit.runtime.media_file_storage import MediaFileKind

KEPT = 60.0  # seconds that a browser has to begin a download


class LastingFiles(store.MemoryMediaFileStorage):
    """Streamlit's files in memory, where a download is deleted KEPT seconds later than Streamlit asks for it.

    Streamlit asks for it after two reruns of pages, whoever's they are. With thirty visitors that is a tenth of a
    second after the click, and the browser then finds no file. The memory grows with the downloads of KEPT seconds.
    Streamlit's manager of files holds a lock around each call.
    """

    def __init__(self, media_endpoint: str) -> None:
        super().__init__(media_endpoint)
        self._ends: dict[str, float] = {}  # when each file goes, by its id, soonest first

    def load_and_get_id(
        self, path_or_data: str | bytes, mimetype: str, kind: MediaFileKind, filename: str | None = None
    ) -> str:
        """Add a file and return its id; a file that was to go stays."""
        file_id = super().load_and_get_id(path_or_data, mimetype, kind, filename)
        self._ends.pop(file_id, None)
        return file_id

    def delete_file(self, file_id: str) -> None:
        """Delete a picture now and a download after KEPT seconds, at the first deletion that follows."""
        now = time.monotonic()
        for old in [old for old, end in self._ends.items() if end <= now]:
            del self._ends[old]
            super().delete_file(old)
        file = self._files_by_id.get(file_id)
        if file is not None and file.kind is MediaFileKind.DOWNLOADABLE:
            self._ends.setdefault(file_id, now + KEPT)
        else:
            super().delete_file(file_id)


def keep_downloads() -> None:
    """Make Streamlit use LastingFiles. Call it before `st.App` is made: Streamlit has no option for this."""
    store.MemoryMediaFileStorage = LastingFiles  # type: ignore[misc]
