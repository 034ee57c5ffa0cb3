"""All data sets by name, the built-in ones and people's own: the one place where facts are looked up. torch-free."""

from __future__ import annotations

from merging.errors import InvalidSetting
from merging.zoo.datasets.facts import FACTS, DatasetFacts
from merging.zoo.datasets.own import find_own, is_own, own_datasets


def find_facts(name: str) -> DatasetFacts | None:
    """What is known of the data set; None for an unknown name, "", and own images that were deleted."""
    if name in FACTS:
        return FACTS[name]
    own = find_own(name)
    return None if own is None else own.facts


def facts(name: str) -> DatasetFacts:
    """What is known of the data set. Raises InvalidSetting for an unknown name and for own images that are gone."""
    known = find_facts(name)
    if known is None and is_own(name):
        raise InvalidSetting(f"the images {name} were deleted, or are on another machine; bring them again")
    if known is None:
        raise InvalidSetting(f"no data set is called {name!r}; known: {', '.join(FACTS)}")
    return known


def is_dataset_name(name: str) -> bool:
    """Whether a request may name it: a built-in data set, or the form of own images, which may be elsewhere."""
    return name in FACTS or is_own(name)


def known_datasets(owner: str) -> dict[str, DatasetFacts]:
    """Name -> facts of every data set that this person may use: the built-in ones, then own and shared images."""
    return {**FACTS, **{own.id: own.facts for own in own_datasets(owner)}}


def may_use(name: str, owner: str) -> bool:
    """Whether this person may use the images: all but other people's private ones. Deleted ones may not be used."""
    if name in FACTS:
        return True
    own = find_own(name, owner)
    return own is not None and own.visible(owner)


def dataset_label(name: str) -> str:
    """What a data set is called: its label; words for own images that are gone, and "" for an unknown name."""
    known = find_facts(name)
    if known is not None:
        return known.label
    return f"own images that are not here ({name})" if is_own(name) else ""
