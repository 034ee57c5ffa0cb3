"""Checkpoint files that were made to do harm, or were only damaged: name -> (bytes, words the refusal must say)."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import safetensors.torch
import torch
from torch import Tensor, nn

Case = tuple[bytes, str]  # the file, and a pattern that the refusal must match


class Program:
    """A pickle that would run a program when it is opened; the file it would make tells on it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"echo opened > {self.mark}",))


def saved(value: object, **options: object) -> bytes:
    """What torch.save writes."""
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def mlp(**others: Tensor) -> dict[str, Tensor]:
    """A sane state dict of a 16-8-3 MLP, with more or other tensors."""
    state = {"fc1.weight": torch.randn(8, 16), "fc1.bias": torch.randn(8)}
    state |= {"fc2.weight": torch.randn(3, 8), "fc2.bias": torch.randn(3)}
    return state | others


def safe(header: object, body: bytes = b"", size: int | None = None) -> bytes:
    """A hand-made safetensors file; size: what it claims of its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def tensor(first: int, last: int, kind: str = "F32", shape: tuple[int, ...] = (4,)) -> dict[str, object]:
    """One entry of a safetensors header."""
    return {"dtype": kind, "shape": shape, "data_offsets": [first, last]}


def rewritten(data: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """A torch.save archive packed again, with more entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        for name, content in more.items():
            new.writestr(name, content)
    return out.getvalue()


def lying(data: bytes) -> bytes:
    """A torch.save archive whose directory claims a terabyte for its first tensor."""
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    return data[: at + 20] + struct.pack("<II", 2**31, 2**31) + data[at + 28 :]


def flipped(data: bytes) -> bytes:
    """The archive with one bit of its first tensor changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo("archive/data/0")
    begin = data.index(archive_content(data, entry), entry.header_offset)
    return data[: begin + 5] + bytes([data[begin + 5] ^ 1]) + data[begin + 6 :]


def archive_content(data: bytes, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(entry)


def pointed(data: bytes) -> bytes:
    """The archive whose directory sends one tensor's name to another's entry, as torch's own reader would follow."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        one, other = (archive.getinfo(f"archive/data/{number}") for number in (0, 2))
    at = data.rindex(other.filename.encode()) - 46  # in the directory
    assert data[at : at + 4] == b"PK\x01\x02"
    return data[: at + 42] + struct.pack("<I", one.header_offset) + data[at + 46 :]


def nested(data: bytes) -> bytes:
    """The archive whose first tensor's entry reaches over the next one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo("archive/data/0")
    at = data.rindex(entry.filename.encode()) - 46
    size = struct.pack("<II", entry.file_size + 200, entry.file_size + 200)
    return data[: at + 20] + size + data[at + 28 :]


def story(**fields: object) -> bytes:
    """A sane safetensors file with this as our metadata."""
    metadata = {"mergescope": json.dumps(fields)}
    return safetensors.torch.save(mlp(), metadata=metadata)


def script() -> bytes:
    """A TorchScript program, which torch advises against by now."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), out)
    return out.getvalue()


def quantised() -> dict[str, Tensor]:
    """A state dict with a quantised tensor, which torch advises against by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return mlp(**{"fc1.weight": torch.quantize_per_tensor(torch.randn(8, 16), 0.1, 0, torch.qint8)})


def zipped_zeros() -> bytes:
    """A small archive of a safetensors file of 210 MB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model.safetensors", bytes(210_000_000))
    return out.getvalue()


def torch_archives(mark: str) -> dict[str, Case]:
    """torch.save files whose archive or pickle is wrong. mark: a path that a program inside would make."""
    good = saved(mlp())
    return {
        "zip bomb": (rewritten(saved(mlp(bomb=torch.zeros(10**7))), zipfile.ZIP_DEFLATED), "compressed"),
        "zip bomb of safetensors": (zipped_zeros(), "unpacks to 210 MB"),
        "lying directory": (lying(good), "overlap|damaged|cut off"),
        "program": (saved({"a": Program(mark)}), "more than tensors"),
        "program beside tensors": (saved({"state_dict": mlp(), "args": Program(mark)}), "more than tensors"),
        "whole module": (saved(nn.Linear(2, 2)), "a whole object .torch.nn.modules.linear.Linear."),
        "TorchScript": (script(), "TorchScript"),
        "old format program": (saved({"a": Program(mark)}, _use_new_zipfile_serialization=False), "more than tensors"),
        "cut old format": (saved(mlp(), _use_new_zipfile_serialization=False)[:-200], "damaged"),
        "bare pickle": (pickle.dumps(mlp()), "bare pickle"),
        "bare pickled program": (pickle.dumps(Program(mark)), "bare pickle"),
        "cut archive": (good[: len(good) // 2], "cut off"),
        "foreign archive": (rewritten(good).replace(b"/data.pkl", b"/data.txt"), "not one that torch.save wrote"),
        "broken pickle": (good.replace(b"torch._utils", b"torch._xtils"), "wrong checksum"),
        "flipped bit of a tensor": (flipped(good), "wrong checksum"),
        "two names of one tensor's bytes": (pointed(good), "contradicts the directory"),
        "one tensor within another's bytes": (nested(good), "overlap|contradicts the directory"),
        "many names": (saved({f"k{number}": torch.zeros(1, 1) for number in range(4_500)}), "at most 4000"),
        "list": (saved([1, 2]), "a list"),
        "empty": (saved({}), "no tensors"),
        "only vectors": (saved({"a": torch.zeros(3), "epoch": 3}), "no network"),
    }


def odd_tensors() -> dict[str, Case]:
    """Files that torch.load reads, with tensors that no net has."""
    numbers = torch.zeros(100)
    weight = "fc1.weight"
    return {
        "expanded view": (saved(mlp(**{weight: torch.zeros(1).expand(10**6, 10**6)})), "not hold that many numbers"),
        "overlapping views": (saved(mlp(**{"fc1.bias": numbers[:8], "fc2.bias": numbers[6:9]})), "overlap"),
        "strided view": (saved(mlp(**{"fc1.bias": numbers[::2][:8]})), "does not hold that many numbers"),
        "sparse": (saved(mlp(**{weight: torch.eye(8).to_sparse()})), "sparse"),
        "quantised": (saved(quantised()), "quantised"),
        "complex": (saved(mlp(**{weight: torch.zeros(8, 16, dtype=torch.complex64)})), "complex64"),
        "float8": (saved(mlp(**{weight: torch.zeros(8, 16).to(torch.float8_e4m3fn)})), "float8"),
        "float8 safetensors": (safe({"a": tensor(0, 4, "F8_E4M3")}, bytes(4)), "float8"),
        "whole numbers": (saved(mlp(**{weight: torch.zeros(8, 16, dtype=torch.int64)})), "int64"),
        "meta": (saved(mlp(**{weight: torch.zeros(8, 16, device="meta")})), "no numbers"),
        "NaN": (saved(mlp(**{weight: torch.full((8, 16), float("nan"))})), "NaN"),
        "infinity": (safetensors.torch.save(mlp(**{weight: torch.full((8, 16), torch.inf)})), "NaN"),
        "beyond float32": (saved(mlp(**{weight: torch.full((8, 16), 1e300, dtype=torch.float64)})), "beyond float32"),
        "zero-size": (saved(mlp(**{weight: torch.zeros(0, 16)})), "gives 0 values"),
        "many dimensions": (saved(mlp(**{weight: torch.zeros((1,) * 30)})), "no layer has"),
    }


def odd_names() -> dict[str, Case]:
    """Tensor names that were never a module's."""
    return {
        "path as a name": (saved(mlp(**{"../../etc/passwd": torch.zeros(2)})), "not one that torch makes"),
        "HTML as a name": (saved(mlp(**{"<script>alert(1)</script>": torch.zeros(2)})), "not one that torch makes"),
        "long name": (saved(mlp(**{"k" * 100_000: torch.zeros(2)})), "not one that torch makes"),
        "number as a name": (saved({1: torch.zeros(2, 2)}), "not one that torch makes"),
    }


def odd_safetensors() -> dict[str, Case]:
    """safetensors files with a wrong header or a wrong story."""
    return {
        "cut safetensors": (safetensors.torch.save(mlp())[:-10], "damaged"),
        "very cut safetensors": (safetensors.torch.save(mlp())[:40], "cut off"),
        "claimed header": (safe(b"{}", size=10**12), "header claims"),
        "huge header": (safe(b"{" + b" " * 9_000_000 + b"}"), "header claims"),
        "deep header": (safe(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "header is damaged"),
        "header is a list": (safe(b"{]" + b" " * 6), "header is damaged"),
        "overlapping safetensors": (safe({"a": tensor(0, 16), "b": tensor(8, 24)}, bytes(24)), "damaged"),
        "short safetensors": (safe({"a": tensor(0, 16)}, bytes(8)), "damaged"),
        "unknown number type": (safe({"a": tensor(0, 16, "F99")}, bytes(16)), "damaged"),
        "many names in safetensors": (safe({f"k{n}": tensor(0, 0) for n in range(4_500)}), "at most 4000"),
        "story names a module": (story(architecture="os:system"), "architecture is none of"),
        "story asks for memory": (story(architecture="mlp", config={"widths": [10**9]}), "config"),
        "story asks for time": (story(architecture="resnet", config={"blocks": [10**5]}), "blocks"),
        "story is no table": (story(architecture=["mlp"]), "architecture"),
        "story divides by zero": (story(mean=[0.0], std=[0.0]), "std"),
        "story ties nothing": (story(aliases={"x": "y"}), "tied"),
    }


def other_files() -> dict[str, Case]:
    """Files that are no checkpoint at all."""
    return {
        "empty file": (b"", "empty"),
        "text": (b"hello", "not a known kind of checkpoint"),
        "web page": (b"\n<!DOCTYPE html><html>", "web page"),
        "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "gzip": (b"\x1f\x8b0000000000", "gzip"),
    }


def hostile(mark: str) -> dict[str, Case]:
    """All cases. mark: a path that must not exist afterwards."""
    return torch_archives(mark) | odd_tensors() | odd_names() | odd_safetensors() | other_files()
