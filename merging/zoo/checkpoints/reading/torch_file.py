"""Read torch.save files of any age with `torch.load(weights_only=True)`; a zip archive's directory is checked first.

Objects of classes that torch refuses (a configuration, a namespace of arguments) become empty stand-ins, so that the
weights next to them are read and no code of the class runs. Only the disposable process calls
`load_torch_file`, because weights_only refuses code but not files that request terabytes of memory.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
from typing import Any

import torch

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import MAX_HEADER, MAX_TENSORS
from merging.zoo.checkpoints.reading.stored_archive import contents, directory

# Exceptions that torch.load raised in tests for files that are damaged or that it refuses. torch's own messages are not
# passed on, because they advise switching the protection off.
_REFUSALS = (
    pickle.UnpicklingError,
    RuntimeError,
    LookupError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)
_OTHER_ARCHIVES = {
    "constants.pkl": "a TorchScript program",
    "[Content_Types].xml": "an office document",
}
_FOREIGN = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
MAX_FOREIGN = 64  # most classes in one file that torch refuses


class StandIn(dict):  # type: ignore[type-arg]
    """Placeholder for an object of a class that is not read: it accepts any arguments and does nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Forget the object's fields."""


def load_torch_file(data: bytes) -> Any:
    """Load a torch.save file: tensors in dictionaries and lists, unchecked, and a `StandIn` for every other object.

    Raises CheckpointError when the archive is not torch.save's, is compressed, damaged, or holds code.
    """
    if data.startswith(b"PK"):
        _check_directory(data)
    foreign: dict[str, type[StandIn]] = {}
    try:
        while True:
            try:
                loaded = _load(data, foreign)
                break
            except pickle.UnpicklingError as error:
                name = _FOREIGN.search(str(error))
                if name is None or name[1] in foreign or len(foreign) == MAX_FOREIGN:
                    raise
                foreign[name[1]] = type(name[1].rpartition(".")[2], (StandIn,), {"__module__": name[1]})
    except MemoryError as error:
        raise CheckpointError("The file asks for far more memory than its size explains. It was not loaded.") from error
    except _REFUSALS as error:
        raise CheckpointError(_reason(error)) from error
    if isinstance(loaded, StandIn):
        raise CheckpointError(
            f"The file holds a whole object ({type(loaded).__module__}) and its code, which would have to be run. "
            'Save its weights alone: torch.save(model.state_dict(), "model.pt").'
        )
    return loaded


def _load(data: bytes, foreign: dict[str, type[StandIn]]) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals([(kind, name) for name, kind in foreign.items()]):
        warnings.simplefilter("ignore")  # the warnings are meant for the author of the program that wrote the file
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _check_directory(data: bytes) -> None:
    entries, start = directory(data, HOW)
    names = [entry.filename for entry in entries]
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl") and entry.filename.count("/") == 1]
    for ending, what in _OTHER_ARCHIVES.items():
        if any(name.endswith(ending) for name in names):
            raise CheckpointError(f"The file is {what}, which would have to be run to be read. {HOW}")
    if len(pickles) != 1:
        raise CheckpointError(f"The file is a zip archive, but not one that torch.save wrote. {HOW}")
    if len(entries) > 2 * MAX_TENSORS or pickles[0].file_size > MAX_HEADER:
        raise CheckpointError(f"The file lists {len(entries)} parts; at most {MAX_TENSORS} tensors are read.")
    contents(data, entries, start, HOW)


def _reason(error: Exception) -> str:
    text = str(error)
    if "allocate" in text or "memory" in text:
        return "The file asks for far more memory than its size explains. It was not loaded."
    if isinstance(error, pickle.UnpicklingError) and "weights" in text.lower():
        return (
            "The file holds more than tensors: a whole model, an optimizer or other Python objects, which could run "
            f"arbitrary code. It was not loaded. {HOW}"
        )
    return f"The file is damaged or is not what torch.save writes. It was not loaded. {HOW}"
