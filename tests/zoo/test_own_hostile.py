"""Images of one's own that are wrong or made to harm: each is refused with one error of ours that says what to do."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from merging.errors import DataUnavailable, InvalidSetting
from merging.paths import ROOT
from merging.zoo.datasets.convert import convert_images
from merging.zoo.datasets.reading import files
from tests.zoo.image_files import by_class, drawn, folder, png, reading, two_classes, zipped

RIGHT = two_classes()
SPLIT = by_class(drawn(0, 4), [0, 0, 1, 1], "train") | by_class(drawn(1, 2), [0, 1], "test")
fresh = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def new(place: Path) -> Path:
    return place / f"place{next(fresh)}"


def refused(place: Path, source: Path, words: str, **order) -> None:
    into = new(place)
    with pytest.raises(DataUnavailable, match=words):
        reading(source, into, **order)
    assert not (into / "facts.json").exists()


def vast(side: int) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def frames(form: str) -> bytes:
    out, pictures = io.BytesIO(), [Image.fromarray(pixels) for pixels in drawn(2, 3)]
    pictures[0].save(out, form, save_all=True, append_images=pictures[1:])
    return out.getvalue()


def floats() -> bytes:
    return png(np.zeros((4, 4), np.float32), "TIFF")


def tiff(bits: int, meaning_of_0: int) -> bytes:
    """A grey TIFF of 4×4 pixels. meaning_of_0: 0 for white, 1 for black."""
    pixels = bytes(range(4 * 4 * bits // 8))
    tags = [
        (256, 4),
        (257, 4),
        (258, bits),
        (259, 1),
        (262, meaning_of_0),
        (273, 8),
        (277, 1),
        (278, 4),
        (279, len(pixels)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def lab() -> bytes:
    out = io.BytesIO()
    Image.new("LAB", (4, 4)).save(out, "TIFF")
    return out.getvalue()


whole = png(drawn(3, 1, (40, 40))[0])
FILES = {
    "bomb": (RIGHT | {"ant/bomb.png": vast(20_000)}, "ant/bomb.png has more than 64 million pixels"),
    "large image": (RIGHT | {"ant/bomb.png": vast(9_000)}, "ant/bomb.png has more than 64 million pixels"),
    "cut off": (RIGHT | {"ant/cut.png": whole[:-200]}, "An image is damaged, cut off or not an image: ant/cut.png"),
    "header alone": (RIGHT | {"ant/cut.png": vast(30)}, "An image is damaged, cut off or not an image: ant/cut.png"),
    "several damaged": (
        RIGHT | {f"bee/{at}.jpg": b"no" for at in range(9)},
        r"9 images are damaged.*: bee/0.jpg, bee/1.jpg, bee/2.jpg, bee/3.jpg, bee/4.jpg and 4 more",
    ),
    "empty file": (RIGHT | {"bee/x.png": b""}, "damaged, cut off or not an image: bee/x.png"),
    "text called png": (RIGHT | {"bee/x.png": b"<html>404</html>"}, "not an image: bee/x.png"),
    "postscript": (RIGHT | {"bee/x.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, "an image: bee/x.png"),
    "animated gif": (RIGHT | {"bee/x.gif": frames("GIF")}, "bee/x.gif has several frames or pages"),
    "animated png": (RIGHT | {"bee/x.png": frames("PNG")}, "bee/x.png has several frames"),
    "pages": (RIGHT | {"bee/x.tif": frames("TIFF")}, "bee/x.tif has several frames"),
    "floats": (RIGHT | {"bee/x.tif": floats()}, "bee/x.tif holds values that are not colours of 8 or 16 bits"),
    "0 is white": (RIGHT | {"bee/x.tif": tiff(16, 0)}, "bee/x.tif holds values that are not colours of 8 or 16 bits"),
    "12 bits": (RIGHT | {"bee/x.tif": tiff(12, 1)}, "bee/x.tif holds values that are not colours of 8 or 16 bits"),
    "lab": (RIGHT | {"bee/x.tif": lab()}, "bee/x.tif holds values that are not colours"),
    "nested zip": (RIGHT | {"bee/more.zip": b"PK"}, r"an archive among the images \(bee/more.zip\)"),
    "nested tar": (RIGHT | {"more.tar.gz": b"x"}, "an archive among the images"),
    "nothing": ({}, "There are no images here, no files"),
    "no images": ({"ant/a.txt": b"", "b.csv": b""}, "There are no images here, only ant/a.txt, b.csv"),
    "one class": (by_class(drawn(0), [0] * 12), "There is only one class, ant"),
    "no class": (RIGHT | {"loose.png": whole}, "loose.png is not in the folder of a class"),
    "no class in a split": (SPLIT | {"train/loose.png": whole}, "train/loose.png is not in the folder of a class"),
    "beside the splits": (SPLIT | {"extra/ant/1.png": whole}, "test holds folders of classes.*extra is next to it"),
    "test alone": (by_class(drawn(0, 4), [0, 0, 1, 1], "test"), "test holds folders.*there is no folder train"),
    "unknown test class": (SPLIT | {"test/fox/1.png": whole}, "fox has test images, but no training images"),
    "one image": (RIGHT | {"fox/1.png": whole}, "The class fox has only one distinct image"),
    "nameless class": (RIGHT | {"\u200b/1.png": whole}, "The name of class 2 has no printable characters"),
    "two of one name": (RIGHT | {"ant\u200b/1.png": whole}, "Classes 0 and 1 are both called ant"),
    "deep": (RIGHT | {"/".join("abcdefghijklm") + "/1.png": whole}, "folders deep"),
}


@pytest.mark.parametrize("kind", [folder, zipped])
@pytest.mark.parametrize("case", FILES)
def test_files_that_are_wrong_or_made_to_harm_are_refused_in_words(place, kind, case):
    content, words = FILES[case]
    source = kind(new(place), content)
    source.mkdir(exist_ok=True) if kind is folder else None
    refused(place, source, words)


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\..\\evil.png", "ant/../../x.png"]
)
def test_names_that_lead_outside_an_archive_are_refused(place, name):
    refused(place, zipped(new(place), RIGHT | {name: whole}), "names a file outside itself")


def test_links_and_special_files_are_refused(place):
    inside = folder(new(place), RIGHT)
    (inside / "ant" / "link.png").symlink_to("/etc/passwd")
    refused(place, inside, r"ant/link.png is a link.*cp -rL")
    around = folder(new(place), RIGHT)
    (around / "again").symlink_to(around, target_is_directory=True)
    refused(place, around, "again is a link")
    path = zipped(new(place), RIGHT)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("ant/link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    refused(place, path, "ant/link.png is a link")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes in folders there")
def test_a_pipe_is_not_waited_for(place):
    source = folder(new(place), RIGHT)
    os.mkfifo(source / "ant" / "pipe.png")
    refused(place, source, "ant/pipe.png is not an ordinary file")


def test_an_empty_class_is_refused_and_not_skipped(place):
    source = folder(new(place), RIGHT)
    (source / "fox").mkdir()
    refused(place, source, "The folder fox holds no image")
    path = zipped(new(place), RIGHT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.mkdir("fox")
    refused(place, path, "The folder fox holds no image")


def test_zip_bombs_are_refused_by_their_directory(place):
    blank = png(np.zeros((4, 4, 3), np.uint8), "BMP") + bytes(20_000_000)
    bomb = zipped(new(place), {f"ant/{at}.bmp": blank for at in range(6)})
    assert bomb.stat().st_size < 200_000
    refused(place, bomb, "unpacks to 120 MB, far more than images do")


def test_numbers_and_sizes_of_files_are_bounded(place, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILES", 9)
    for source in (folder(new(place), RIGHT), zipped(new(place), RIGHT)):
        refused(place, source, "more than 9 files")
    monkeypatch.setattr(files, "MAX_FILES", 200)
    for limit, words in (
        ("MAX_IMAGE_FILE", r"ant/\d.png has 0 MB; at most"),
        ("MAX_TOTAL", "files have 0 MB together"),
    ):
        monkeypatch.setattr(files, limit, 50 if limit == "MAX_IMAGE_FILE" else 100)
        for source in (folder(new(place), RIGHT), zipped(new(place), RIGHT)):
            refused(place, source, words)
        monkeypatch.setattr(files, limit, 10**9)


def test_all_images_together_must_fit(place):
    words = r"10 images of 3×4×5 take 0 MB, but only 0 MB are available\. Choose a smaller height × width"
    refused(place, folder(new(place), RIGHT), words, most=599)
    assert reading(folder(new(place), RIGHT), new(place), most=600).bytes == 600
    refused(place, folder(new(place), RIGHT), "10 images of 3×4096×4096 take 503 MB", most=10**8, size=(4096, 4096))


def doctored(place: Path, change) -> Path:
    path = zipped(new(place), RIGHT, zipfile.ZIP_STORED)
    path.write_bytes(change(path.read_bytes()))
    return path


def test_damaged_archives_are_refused(place):
    refused(place, doctored(place, lambda data: data[:-30]), "neither a zip archive|damaged")
    central = b"PK\x01\x02"
    at = doctored(place, lambda data: data[: data.index(central) + 8] + b"\x01" + data[data.index(central) + 9 :])
    refused(place, at, "encrypted")
    method = doctored(place, lambda data: data[: data.index(central) + 10] + b"\x0e" + data[data.index(central) + 11 :])
    refused(place, method, "compressed in an unusual way")
    flipped = doctored(place, lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:])
    refused(place, flipped, "ant/0.png is damaged within the archive")
    twice = doctored(place, lambda data: data.replace(b"ant/2.png", b"ant/0.png"))
    refused(place, twice, "lists ant/0.png twice")
    other = new(place)
    other.write_bytes(whole)
    refused(place, other, "is neither a zip archive nor an .npz")


@pytest.mark.parametrize("case", ["bomb", "cut off", "animated gif", "nested zip"])
def test_the_process_hands_its_refusals_on(place, case):
    content, words = FILES[case]
    scratch = new(place)
    with pytest.raises(DataUnavailable, match=words):
        convert_images(folder(new(place), content), scratch)
    assert [path.name for path in scratch.iterdir()] == ["reading"]


def test_a_process_that_dies_or_takes_too_long_is_told_in_words(place, monkeypatch):
    source = folder(new(place), RIGHT)
    with pytest.raises(DataUnavailable, match="took more than 0 seconds"):
        convert_images(source, new(place), seconds=0)
    deadly = folder(new(place), {"PIL/__init__.py": b"import os\nos._exit(9)\n"})
    monkeypatch.setenv("PYTHONPATH", str(deadly))
    with pytest.raises(DataUnavailable, match="ran out of memory or time"):
        convert_images(source, new(place))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded there")
def test_the_process_bounds_its_own_memory(tmp_path):
    program = (
        "import sys\nfrom merging.zoo.disposable import limit_process\nlimit_process(50_000_000, 60)\n"
        "try:\n    bytearray(200_000_000)\nexcept MemoryError:\n    sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 7


def test_settings_are_checked_before_anything_is_read(place):
    with pytest.raises(InvalidSetting, match="colour is one of auto, grey, colour"):
        convert_images(place, new(place), colour="red")
    with pytest.raises(InvalidSetting, match="1 to 4096 pixels; got 0×5"):
        convert_images(place, new(place), size=(0, 5))
