"""Downloads that last: a file that was made for a click stays until the browser has fetched it."""

from __future__ import annotations

import hashlib
import time

from streamlit.runtime import memory_media_file_storage as store
from streamlit.runtime.media_file_storage import MediaFileKind

KEPT = 60.0  # seconds that a browser has to begin a download
MOST = 200_000_000  # bytes of downloads that are kept so; the oldest go first, the latest stays


class LastingFiles(store.MemoryMediaFileStorage):
    """Streamlit's files in memory, where a download is deleted KEPT seconds later than Streamlit asks for it.

    Streamlit asks for it after two reruns of pages, also of other visitors. With thirty of them that is a tenth of a
    second after the click, and the browser then finds no file. Streamlit's manager of files holds a lock around each
    call.
    """

    def __init__(self, media_endpoint: str) -> None:
        super().__init__(media_endpoint)
        self._ends: dict[str, float] = {}  # when each file goes, by its id, soonest first

    def load_and_get_id(
        self, path_or_data: str | bytes, mimetype: str, kind: MediaFileKind, filename: str | None = None
    ) -> str:
        """Add a file and return its id; a file that was to go stays.

        The id of a download depends on every byte; Streamlit's own looks at three places of a large file only.
        """
        if kind is not MediaFileKind.DOWNLOADABLE or isinstance(path_or_data, str):
            return super().load_and_get_id(path_or_data, mimetype, kind, filename)
        names = f"{mimetype}\0{filename}\0".encode(errors="replace")
        file_id = hashlib.sha256(names + path_or_data).hexdigest()
        self._files_by_id.setdefault(file_id, store.MemoryFile(path_or_data, mimetype, kind, filename))
        self._ends.pop(file_id, None)
        return file_id

    def delete_file(self, file_id: str) -> None:
        """Delete a picture now and a download after KEPT seconds, at the first deletion that follows."""
        now, file = time.monotonic(), self._files_by_id.get(file_id)
        if file is not None and file.kind is MediaFileKind.DOWNLOADABLE:
            self._ends.setdefault(file_id, now + KEPT)
        else:
            super().delete_file(file_id)
        while self._ends and (min(self._ends.values()) <= now or (self._size() > MOST and len(self._ends) > 1)):
            old = next(iter(self._ends))
            del self._ends[old]
            super().delete_file(old)

    def _size(self) -> int:
        """Bytes of the files that are to go."""
        return sum(len(self._files_by_id[file_id].content) for file_id in self._ends)


def keep_downloads() -> None:
    """Make Streamlit use LastingFiles. Call it before `st.App` is made: Streamlit has no option for this."""
    store.MemoryMediaFileStorage = LastingFiles  # type: ignore[misc]
