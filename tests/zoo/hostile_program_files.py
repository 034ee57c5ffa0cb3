"""Exported programs whose tensors or archives lie, or are of another layout; and `hostile`, all cases together."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from typing import Any

from tests.zoo import hostile_programs as makers
from tests.zoo.hostile import Program, saved
from tests.zoo.hostile_programs import (
    CONSTANTS,
    MODEL,
    WEIGHTS,
    Case,
    changed,
    files,
    packed,
    weight,
    whole,
    with_files,
)


def odd_sizes() -> dict[str, Case]:
    """Tensors whose description does not fit their bytes."""

    def overlap(found: Any) -> None:
        entry = found["config"]["first.bias"]
        entry.update(path_name=found["config"]["first.weight"]["path_name"])
        entry["tensor_meta"].update(storage_offset={"as_int": 40})

    def expanded(found: Any) -> None:
        found["config"]["shift"]["tensor_meta"].update(sizes=whole(10**6, 10**6, 8), strides=whole(0, 0, 1))

    return {
        "larger than its bytes": (weight(sizes=whole(800, 6)), "does not hold that many"),
        "smaller than its bytes": (weight(sizes=whole(4, 6), strides=whole(6, 1)), "but its tensors have"),
        "spread over its bytes": (weight(strides=whole(0, 1)), "but its tensors have|does not hold"),
        "beyond its bytes": (weight(storage_offset={"as_int": 8}), "does not hold that many"),
        "negative offset": (weight(storage_offset={"as_int": -8}), "negative"),
        "negative stride": (weight(strides=whole(-6, 1)), "negative"),
        "negative size": (weight(sizes=whole(-8, -6)), "negative"),
        "size with code": (weight(sizes=[{"as_expr": {"expr_str": "exit()"}}, {"as_int": 6}]), "as_int"),
        "partly overlapping": (changed(overlap, WEIGHTS), "overlap"),
        "constant of terabytes": (changed(expanded, CONSTANTS), "does not hold that many"),
    }


def odd_numbers() -> dict[str, Case]:
    """Tensors whose bytes are no numbers, or not theirs, and names that are none."""
    raw = files()
    table = json.loads(raw[WEIGHTS])["config"]
    first, second = (f"data/weights/{table[name]['path_name']}" for name in ("first.weight", "first.bias"))
    return {
        "longer numbers": (weight(dtype=8), "does not hold|not a whole number"),
        "whole numbers": (weight(dtype=5), "does not hold|not a whole number"),
        "float8": (weight(dtype=29), "number type"),
        "unknown number type": (weight(dtype=99), "number type"),
        "sparse": (weight(layout=1), "sparse"),
        "many dimensions": (weight(sizes=whole(*[1] * 30), strides=whole(*[1] * 30)), "do not fit each other"),
        "pickled": (weight(use_pickle=True), "could run arbitrary code"),
        "outside of the archive": (weight(path_name="../../etc/passwd"), "could run arbitrary code"),
        "missing file": (with_files(**{first: None}), "is missing"),
        "missing entry": (changed(lambda found: found["config"].pop("head.bias") and None, WEIGHTS), "no values for"),
        "cut numbers": (with_files(**{second: raw[second][:-3]}), "not a whole number"),
        "NaN": (with_files(**{second: struct.pack("<8f", *[float("nan")] * 8)}), "NaN"),
        "NaN as a constant": (
            with_files(**{"data/constants/tensor_0": struct.pack("<8f", *[float("nan")] * 8)}),
            "NaN",
        ),
        "half truths": (
            with_files(**{f"data/weights/{table['mask']['path_name']}": b"\0\1\2\3"}),
            "neither true nor false",
        ),
        "HTML as a name": (
            changed(lambda found: found["config"].update({"<script>": found["config"]["head.bias"]}), WEIGHTS),
            "not one that torch makes",
        ),
        "name that torch keeps": (
            changed(lambda found: found["config"].update({"head.training": found["config"]["head.bias"]}), WEIGHTS),
            "torch reserves",
        ),
        "tensor inside a tensor": (
            changed(lambda found: found["config"].update({"head": found["config"]["head.bias"]}), WEIGHTS),
            "inside another",
        ),
        "weights as a pickle": (with_files(**{"data/weights/model.pt": saved({})}), "as a pickle"),
        "no table": (with_files(**{WEIGHTS: None}), "lacks data/weights"),
    }


def odd_archives(mark: str) -> dict[str, Case]:
    """Archives that lie, or are none of today's."""
    good, contents = packed(files()), files()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        first = archive.start_dir
    second = good.index(b"PK\x01\x02", first + 1)
    offset = good[first + 42 : first + 46]
    bomb = packed(contents | {"bomb": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)
    size = struct.pack("<II", 2**31, 2**31)
    inside = {f"a/{name}": content for name, content in contents.items()}
    return {
        "path traversal": (packed(contents | {"../../etc/cron.d/evil": b"x"}), "does not write"),
        "absolute path": (packed(inside | {"/etc/passwd": b"x"}, root=""), "does not write"),
        "drive": (packed(contents | {"C:\\evil": b"x"}), "does not write"),
        "no top folder": (packed(contents, root=""), "does not write"),
        "two top folders": (packed(inside | {"b/c": b""}, root=""), "top folder"),
        "bomb": (bomb, "compressed"),
        "lying size": (good[: first + 20] + size + good[first + 28 :], "claims to hold more"),
        "entries on one another": (good[: second + 42] + offset + good[second + 46 :], "contradicts the directory"),
        "same entry twice": (good.replace(b"weight_1", b"weight_0"), "overlap"),
        "flipped bit": (good.replace(b"aten.linear", b"aten.lineax", 1), "checksum"),
        "cut archive": (good[: len(good) // 2], "cut off"),
        "big-endian": (with_files(byteorder=b"big"), "byteorder"),
        "another archive": (with_files(archive_format=b"zip"), "archive_format"),
        "newer archive": (with_files(archive_version=b"1"), "archive_version"),
        "no version": (with_files(archive_version=None), "archive_version"),
        "two programs": (with_files(**{"models/other.json": contents[MODEL]}), "2 exported programs"),
        "no program": (with_files(**{MODEL: None}), "no exported program"),
        "older layout": (packed({"serialized_exported_program.json": b"{}", "version": b"4"}, root=""), "older torch"),
        "pickle inside": (packed({"data.pkl": pickle.dumps(Program(mark))}), "no exported program"),
        "thousands of entries": (packed(contents | {f"extra/{number}": b"" for number in range(13_000)}), "at most"),
    }


def hostile(mark: str) -> dict[str, Case]:
    """All cases. mark: a path that must not exist afterwards."""
    graphs = (makers.foreign_targets(mark), makers.hungry(), makers.odd_graphs(mark), makers.odd_descriptions())
    return {
        name: case for part in (*graphs, odd_sizes(), odd_numbers(), odd_archives(mark)) for name, case in part.items()
    }
