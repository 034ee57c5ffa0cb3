"""Look-up of data sets by name, both built-in ones and users' own images. torch-free."""

from __future__ import annotations

from merging.errors import InvalidSetting
from merging.zoo.datasets.facts import FACTS, DatasetFacts
from merging.zoo.datasets.own import find_intact, is_own, own_datasets

PRIVATE = "private images"  # label of images that their owner does not share


def find_facts(name: str) -> DatasetFacts | None:
    """The facts of a data set; None for an unknown name, for "", and for own images that are deleted or damaged."""
    if name in FACTS:
        return FACTS[name]
    own = find_intact(name)
    return None if own is None else own.facts


def facts(name: str) -> DatasetFacts:
    """The facts of a data set.

    Raises InvalidSetting for an unknown name, and for own images that are deleted or damaged.
    """
    entry = find_facts(name)
    if entry is None and is_own(name):
        raise InvalidSetting(f"the images {name} were deleted, are damaged or on another machine; bring them again")
    if entry is None:
        raise InvalidSetting(f"no data set is called {name!r}; known: {', '.join(FACTS)}")
    return entry


def is_dataset_name(name: str) -> bool:
    """Whether a request may use the name: a built-in data set, or an id of own images (on any machine)."""
    return name in FACTS or is_own(name)


def known_datasets(owner: str) -> dict[str, DatasetFacts]:
    """The data sets that this person may use, name -> facts: built-in ones, then own and shared images."""
    return {**FACTS, **{own.id: own.facts for own in own_datasets(owner)}}


def may_use(name: str, owner: str) -> bool:
    """Whether this person may use the images. False for other people's private images, deleted and damaged ones."""
    if name in FACTS:
        return True
    own = find_intact(name, owner)
    return own is not None and own.visible(owner)


def dataset_label(name: str, owner: str = "") -> str:
    """The display name of a data set, "" for an unknown name.

    owner: the person who reads the label, "" for the user of this machine. They see the name that they gave their own
    images, and a placeholder for images that are deleted or damaged, or that someone else does not share.
    """
    entry = find_facts(name)
    if entry is not None and owner and is_own(name):
        own = find_intact(name, owner)
        return own.facts.label if own is not None and own.visible(owner) else PRIVATE
    if entry is not None:
        return entry.label
    return f"own images that are not on this machine ({name})" if is_own(name) else ""
