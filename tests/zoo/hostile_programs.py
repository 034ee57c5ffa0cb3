"""Exported programs that were made to do harm, or are only damaged or of another kind: name -> (bytes, words that the
refusal must say). All are made of one sound file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from tests.nets.programs import file_of

Case = tuple[bytes, str]
Files = dict[str, bytes]
NAME = "pinned"
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def files() -> Files:
    """The sound file's entries, without their top folder."""
    with zipfile.ZipFile(io.BytesIO(file_of(NAME))) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def packed(contents: Files, root: str = "archive", compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(f"{root}/{name}" if root else name, content)
    return out.getvalue()


def changed(change: Callable[[Any], Any], path: str = MODEL) -> bytes:
    """The sound file with one of its descriptions changed in place, or replaced where `change` gives something."""
    contents = files()
    description = json.loads(contents[path])
    replaced = change(description)
    contents[path] = json.dumps(description if replaced is None else replaced).encode()
    return packed(contents)


def graph(change: Callable[[Any], Any]) -> bytes:
    """The sound file with its graph changed."""
    return changed(lambda whole: change(whole["graph_module"]["graph"]) and None)


def node(change: Callable[[Any], Any], number: int = 0) -> bytes:
    """The sound file with one operation changed; the first is a linear layer."""
    return graph(lambda found: change([one for one in found["nodes"] if "aten.linear" in one["target"]][number]))


def calling(target: str, *arguments: Any) -> bytes:
    """The sound file whose first linear layer is another operation; its result is used."""

    def change(found: Any) -> None:
        found["target"] = target
        if arguments:
            found["inputs"] = [{"name": name, "arg": arg, "kind": kind} for name, arg, kind in arguments]

    return node(change)


def argument(name: str, kind: str, value: Any, place: int = 1) -> tuple[str, Any, int]:
    """An argument as torch writes it. place: 1 by position, 2 by name."""
    return name, {kind: value}, place


def tensor(name: str, value: str) -> tuple[str, Any, int]:
    """An argument that is a value of the graph."""
    return argument(name, "as_tensor", {"name": value})


def weight(**fields: Any) -> bytes:
    """The sound file with another description of its first layer's weight: 8 x 6 numbers."""

    def change(table: Any) -> None:
        entry = table["config"]["first.weight"]
        for key, value in fields.items():
            (entry if key in entry else entry["tensor_meta"])[key] = value

    return changed(change, WEIGHTS)


def whole(*numbers: int) -> list[dict[str, int]]:
    """Sizes or strides as torch writes them."""
    return [{"as_int": number} for number in numbers]


def with_files(**contents: bytes | None) -> bytes:
    """The sound file with other entries; None leaves one out."""
    every = files() | contents
    return packed({name: content for name, content in every.items() if content is not None})


def foreign_targets(mark: str) -> dict[str, Case]:
    """Operations that are no operators of a network."""
    command, x = argument("command", "as_string", f"touch {mark}"), tensor("self", "x")
    code = argument("source", "as_string", f"open({mark!r}, 'w')")
    aten = "torch.ops.aten."
    return {
        "os.system": (calling("os.system", command), "not an operator"),
        "posix.system": (calling("posix.system", command), "not an operator"),
        "eval": (calling("builtins.eval", code), "not an operator"),
        "torch.load": (calling("torch.load", command), "not an operator"),
        "methodcaller": (calling("_operator.methodcaller", command), "not an operator"),
        "attribute of an operator": (calling(f"{aten}relu.default.__call__", x), "not an operator"),
        "class of an operator": (calling(f"{aten}__class__.__mro__", x), "no rule"),
        "registered type": (calling("#namespace:operation", x), "not an operator"),
        "empty target": (calling("", x), "not an operator"),
        "profiler": (calling("torch.ops.profiler._record_function_enter_new.default", command), "not an operator"),
        "library of others": (calling("torch.ops.torchvision.nms.default", x), "not an operator"),
        "from_file": (
            calling(f"{aten}from_file.default", argument("filename", "as_string", "/etc/passwd")),
            "memory or files",
        ),
        "empty": (calling(f"{aten}empty.memory_format", argument("size", "as_ints", [8])), "memory or files"),
        "set_": (calling(f"{aten}set_.source_Tensor", x), "memory or files"),
        "as_strided": (calling(f"{aten}as_strided.default", x), "memory or files"),
        "overload that is not there": (calling(f"{aten}relu.nothing", x), "no rule"),
        "writes elsewhere": (calling(f"{aten}add.out", x), "no rule"),
        "repeats a list": (calling(f"{aten}mul.left_t", argument("l", "as_ints", [1])), "no rule"),
        "prints": (calling(f"{aten}_print.default", command), "no rule"),
        "runs a part by condition": (calling("torch.ops.higher_order.cond", x), "conditionally"),
        "graph as an argument": (calling(f"{aten}relu.default", argument("self", "as_graph", {})), "conditionally"),
        "object as an argument": (
            calling(f"{aten}relu.default", argument("self", "as_custom_obj", {})),
            "not supported",
        ),
        "run_decompositions": (calling(f"{aten}convolution.default", x), "without it"),
    }


def hungry() -> dict[str, Case]:
    """Operations that ask for memory or time, or behave as in training."""
    x, aten = tensor("self", "x"), "torch.ops.aten."
    dropout = (tensor("input", "x"), argument("p", "as_float", 0.5), argument("train", "as_bool", True))
    norm = [tensor("input", "x"), *(argument(name, "as_none", True) for name in ("weight", "bias"))]
    norm += [tensor(name, "p_first_bias") for name in ("running_mean", "running_var")]
    norm += [argument("training", "as_bool", True), *(argument(name, "as_float", 0.1) for name in ("momentum", "eps"))]
    writes = {"target": f"{aten}mul_.Scalar", "outputs": [{"as_tensor": {"name": "spoiled"}}], "metadata": {}}
    writes["inputs"] = [
        {"name": "self", "arg": {"as_tensor": {"name": "p_head_bias"}}, "kind": 1},
        {"name": "other", "arg": {"as_int": 2}, "kind": 1},
    ]
    return {
        "zeros": (calling(f"{aten}zeros.default", argument("size", "as_ints", [10**9, 10**9])), "GB"),
        "zeros of a CPU": (
            calling(
                f"{aten}zeros.default",
                argument("size", "as_ints", [10**5, 10**4]),
                argument("device", "as_device", {}, 2),
            ),
            "GB",
        ),
        "number repeated": (
            calling(
                f"{aten}repeat.default", argument("self", "as_float", 1.0), argument("repeats", "as_ints", [10**9])
            ),
            "is not of type Tensor",
        ),
        "repeat": (calling(f"{aten}repeat.default", x, argument("repeats", "as_ints", [10**5, 10**5])), "GB"),
        "expand": (calling(f"{aten}expand.default", x, argument("size", "as_ints", [10**5, 10**5, 2, 6])), "GB"),
        "arange": (calling(f"{aten}arange.default", argument("end", "as_int", 10**15)), "GB"),
        "long list": (calling(f"{aten}zeros.default", argument("size", "as_ints", [1] * 20_000)), "too long"),
        "long word": (calling(f"{aten}relu.default", argument("self", "as_string", "x" * 10**6)), "operator accepts"),
        "huge number": (calling(f"{aten}mul.Scalar", x, argument("other", "as_int", 10**30)), "64 bits"),
        "no number": (calling(f"{aten}mul.Scalar", x, argument("other", "as_float", "NaN")), "not a number"),
        "million operations": (graph(lambda found: found.update(nodes=[{}] * 10**6)), "at most 20,000"),
        "dropout in training": (calling(f"{aten}dropout.default", *dropout), "training mode"),
        "norm in training": (
            calling(f"{aten}batch_norm.default", *norm, argument("cudnn_enabled", "as_bool", False)),
            "training mode",
        ),
        "writes to a weight": (graph(lambda found: found["nodes"].insert(0, writes)), r"changes head\.bias in place"),
    }


def odd_graphs(mark: str) -> dict[str, Case]:
    """Graphs that are no graphs."""
    code = f"__import__('os').system('touch {mark}')"

    def rename(found: Any) -> None:
        found["nodes"][1]["outputs"] = found["nodes"][2]["outputs"]

    def batch(size: Any) -> bytes:
        return graph(lambda found: found["tensor_values"]["x"]["sizes"].__setitem__(0, size))

    def symbol(text: str) -> dict[str, Any]:
        return {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}

    return {
        "later value": (
            node(lambda found: found["inputs"][0]["arg"]["as_tensor"].update(name="linear_2")),
            "comes later",
        ),
        "cycle": (node(lambda found: found["inputs"][0]["arg"]["as_tensor"].update(name="linear")), "comes later"),
        "unknown value": (node(lambda found: found["inputs"][1]["arg"]["as_tensor"].update(name="nothing")), "never"),
        "name of a number": (node(lambda found: found["inputs"][0]["arg"]["as_tensor"].update(name=7)), "wrong type"),
        "name of a list": (node(lambda found: found.update(name=["linear"])), "wrong type"),
        "name with code": (node(lambda found: found["outputs"][0]["as_tensor"].update(name=code)), "has an operation"),
        "name twice": (graph(rename), "two values"),
        "fixed batch": (batch({"as_int": 2}), "fixed to 2"),
        "batch with code": (batch(symbol(code)), "not free"),
        "batch by twos": (batch(symbol("Mul(Integer(2), Symbol('s0', integer=True))")), "not free"),
        "output nowhere": (graph(lambda found: found["outputs"][0]["as_tensor"].update(name="x")), "different outputs"),
        "two outputs": (graph(lambda found: found["outputs"].append(found["outputs"][0])), "several outputs"),
        "wrong arguments": (node(lambda found: found["inputs"].reverse()), "is not the argument that"),
        "argument of no kind": (node(lambda found: found["inputs"][0].update(kind=5)), "neither positional"),
        "argument of two things": (node(lambda found: found["inputs"][0]["arg"].update(as_int=1)), "a single value"),
        "too few arguments": (node(lambda found: found["inputs"].clear()), "missing"),
        "unknown argument": (node(lambda found: found["inputs"][0].update(arg={"as_dream": 1})), "unknown field"),
        "unknown field": (node(lambda found: found.update(dream=1)), r"in its operations: it was written by torch 2\."),
        "other sizes": (
            graph(lambda found: found["tensor_values"]["linear"]["sizes"].__setitem__(1, {"as_int": 9})),
            "has the sizes",
        ),
        "other type": (graph(lambda found: found["tensor_values"]["linear"].update(dtype=5)), "has the sizes"),
        "unknown type": (graph(lambda found: found["tensor_values"]["x"].update(dtype=99)), "number type"),
        "module of code": (
            node(lambda found: found["metadata"].update(nn_module_stack=f"key,{code},type")),
            "list of modules|cannot be read",
        ),
        "modules without end": (
            node(lambda found: found["metadata"].update(nn_module_stack=";" * 10**5)),
            "short text",
        ),
    }


def odd_descriptions() -> dict[str, Case]:
    """Descriptions that are damaged, or of another version."""
    good = json.loads(files()[MODEL])
    deep = b'{"graph_module":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    digits = files()[MODEL].replace(b'"kind": 1', b'"kind": ' + b"9" * 5_000, 1)
    return {
        "list": (changed(lambda whole: [whole]), "schema_version"),
        "no schema": (changed(lambda whole: whole.pop("schema_version") and None), "schema_version"),
        "newer schema": (changed(lambda whole: whole["schema_version"].update(major=9)), "format '9'"),
        "older schema": (changed(lambda whole: whole["schema_version"].update(major=7)), "format '7'"),
        "newer field": (changed(lambda whole: whole.update(dream=1)), "unknown field"),
        "deep": (with_files(**{MODEL: deep}), "too deep"),
        "five thousand digits": (with_files(**{MODEL: digits}), "valid JSON"),
        "bare NaN": (with_files(**{MODEL: json.dumps(good | {"guards_code": [float("nan")]}).encode()}), "valid JSON"),
        "cut": (with_files(**{MODEL: files()[MODEL][:1_000]}), "valid JSON"),
        "no text": (with_files(**{MODEL: bytes(range(256))}), "valid JSON"),
        "two inputs": (
            changed(
                lambda whole: whole["graph_module"]["signature"]["input_specs"].append(
                    {"user_input": {"arg": {"as_none": True}}}
                )
            ),
            "takes 2 inputs",
        ),
        "changes a buffer": (
            changed(lambda whole: whole["graph_module"]["signature"]["output_specs"].append({"buffer_mutation": {}})),
            "changes the network's own tensors",
        ),
        "dictionary": (
            changed(
                lambda whole: whole["graph_module"]["module_call_graph"][0]["signature"].update(
                    out_spec='[1, {"type": "builtins.dict"}]'
                )
            ),
            "a dictionary",
        ),
    }
