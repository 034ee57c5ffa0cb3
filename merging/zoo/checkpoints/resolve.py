"""Decide which network a file's tensors belong to: as stated, as proved by the tensors, or as measured on images.

Where none of these decides, the user is asked.

A network is an architecture with its configuration. Its wiring is the part of the configuration that the tensors do not
show, such as the nonlinearity. Each network that fits is an option; a candidate is
an option as users see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from merging.errors import CheckpointError, UnknownArchitecture
from merging.zoo.architectures import build
from merging.zoo.architectures.names import (
    NAMES,
    PROGRAM,
    UNSEEN,
    describe,
    describe_wiring,
    is_known,
    with_known,
)
from merging.zoo.architectures.normalise import load_strictly
from merging.zoo.checkpoints import evidence
from merging.zoo.checkpoints.candidates import Candidate, ambiguous
from merging.zoo.checkpoints.metadata import Story, own_names, read_story
from merging.zoo.checkpoints.own import build_own, fit_own, is_factory
from merging.zoo.checkpoints.programs import KnownProgram, build_program, fit_program, program_in
from merging.zoo.checkpoints.reading.files import File
from merging.zoo.checkpoints.reading.tensors import Loaded
from merging.zoo.checkpoints.recognise.fit import Recognised, fit, structures, wirings
from merging.zoo.datasets.image_set import ImageSet


@dataclass(frozen=True)
class Asked:
    """The user's statements about a file, as in `load_checkpoint`.

    Attributes:
        images: test images to measure on, or None.
        normalisation: (mean, std) if stated, else None.
        programs: known exported programs; the file may hold weights of one of them, trained with another seed.
    """

    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    images: ImageSet | None = None
    normalisation: evidence.Normalisation | None = None
    programs: tuple[KnownProgram, ...] = ()


@dataclass(frozen=True, eq=False)
class Resolved:
    """The network of a file.

    Attributes:
        weights: the network's path inside the file, "" for the file itself.
        loaded: the file's tensors at that path.
        why: the reason for choosing this network, as a phrase to display.
        measured: accuracies on images, the best normalisation first; empty where there were no images.
    """

    network: Recognised
    weights: str
    loaded: Loaded
    why: str
    measured: tuple[evidence.Measured, ...] = ()


def resolve(file: File, asked: Asked) -> Resolved:
    """Decide which network a file holds.

    Raises:
        UnknownArchitecture: when no network fits.
        AmbiguousCheckpoint: when several fit and images do not decide; the error has `.candidates`.
        CheckpointError: when `asked.weights` names nothing in the file.
    """
    if asked.architecture and not (is_known(asked.architecture) or is_factory(asked.architecture)):
        known = f"{', '.join(NAMES)}, torchvision/NAME, timm/NAME"
        raise UnknownArchitecture(f"No architecture is called {asked.architecture[:80]!r}. Known: {known}.")
    chosen = _chosen(file, asked.weights)
    options, why = _options(chosen, asked)
    measured: list[tuple[evidence.Measured, ...]] = [() for _ in options]
    if asked.images is not None:
        modules = [partial(_module, network) for _, network in options]
        images = evidence.by_output(asked.images, file.story.get("classes") or ())
        measured = evidence.measure_networks(modules, images, _stated(file, asked))
    number: int | None = 0
    is_offer = options[0][1].program is not None and not asked.architecture and not file.story
    if len(options) > 1 or is_offer:
        number, why = evidence.decide(measured) if asked.images is not None else (None, "no images decide between them")
    if number is None:
        named = [(path if len(chosen) > 1 else "", network) for path, network in options]
        candidates = _with_open(named, asked) if asked.images is None else _measured(named, measured)
        raise ambiguous(candidates, why)
    path, network = options[number]
    return Resolved(network, path, chosen[path], why, measured[number])


def _chosen(file: File, weights: str) -> dict[str, Loaded]:
    """The networks of the file, or the one at the path `weights`, which may also be a prefix of tensor names."""
    if not weights:
        return dict(file.networks)
    if weights in file.networks:
        return {weights: file.networks[weights]}
    start = weights.rstrip(".") + "."
    for loaded in file.networks.values():
        state = {name.removeprefix(start): t for name, t in loaded.state.items() if name.startswith(start)}
        if state:
            return {weights: replace(loaded, state=state, aliases={})}
    known = ", ".join(path or "the whole file" for path in file.networks)
    raise CheckpointError(f"The file holds no weights at {weights!r}. It holds: {known}.")


def _options(chosen: Mapping[str, Loaded], asked: Asked) -> tuple[list[tuple[str, Recognised]], str]:
    """Every network that fits, with its path in the file; and the reason for choosing it, valid if only one fits."""
    options: list[tuple[str, Recognised]] = []
    refusals: list[UnknownArchitecture] = []
    why = ""
    for path, loaded in chosen.items():
        try:
            networks, why = _fitting(loaded, asked)
            options += [(path, network) for network in networks]
        except UnknownArchitecture as refusal:
            refusals.append(refusal)
    if not options:
        raise refusals[0]
    return options, why


def _fitting(loaded: Loaded, asked: Asked) -> tuple[Iterable[Recognised], str]:
    story = read_story(loaded.story)
    if is_factory(asked.architecture):
        return [fit_own(loaded.state, asked.architecture, asked.config)], "built by the named factory"
    if story.architecture == PROGRAM and asked.architecture in ("", PROGRAM):
        return [_of_program(loaded.state, program_in(loaded.story, loaded.constants))], "it is an exported program"
    if asked.architecture == PROGRAM:
        return [_of_program(loaded.state, known) for known in _named(asked)], "another seed of the named program"
    if story.architecture and asked.architecture in ("", story.architecture):
        config, names = with_known(story.config, asked.config), own_names(loaded.story)
        theirs = {name: ours for ours, name in names.items()}
        fitting = fit({theirs.get(name, name): t for name, t in loaded.state.items()}, story.architecture, config)
        return [replace(fitting, renamed=theirs)], "as the file states"
    offers, refusal = _offers(loaded.state, asked), None
    try:
        networks = structures(loaded.state, asked.architecture, asked.config)
    except UnknownArchitecture as error:
        networks, refusal = (), error
    if refusal is not None and not offers:
        raise refusal
    if asked.architecture:
        return networks, f"named, and its tensors have these names and shapes{_usual(networks[0], asked)}"
    every = [wiring for network in networks for wiring in wirings(network, asked.config)]
    return [*offers, *every], "the only known network with these tensors"


def _offers(state: Mapping[str, Tensor], asked: Asked) -> list[Recognised]:
    """The known programs with these tensors: the file may hold weights of the same program from another seed."""
    offers = []
    for known in asked.programs if not asked.architecture else ():
        with suppress(UnknownArchitecture):
            offers.append(_of_program(state, known))
    return offers


def _named(asked: Asked) -> list[KnownProgram]:
    """The known program that the user named by its hash, or the only known one; a list of one."""
    hash_of_graph = asked.config.get("program")
    named = [known for known in asked.programs if hash_of_graph in (None, known.config["program"])]
    if len(named) != 1:
        raise UnknownArchitecture("The named exported program is not available. Bring its .pt2 file again.")
    return named


def _of_program(state: Mapping[str, Tensor], known: KnownProgram) -> Recognised:
    named, renamed = fit_program(state, known)
    return Recognised(PROGRAM, known.config, named, renamed, (), known)


def _usual(network: Recognised, asked: Asked) -> str:
    """A remark that names the defaults taken for settings that neither the tensors nor the user determine; or ""."""
    words = [UNSEEN[network.architecture][key][choices[0]] for key, choices in network.open.items()]
    return (
        f"; with {', '.join(words)} by default, because nothing else was stated" if words and not asked.config else ""
    )


def _stated(file: File, asked: Asked) -> evidence.Normalisation | None:
    story = _story(file)
    return asked.normalisation or ((story.mean, story.std) if story.mean else None)


def _story(file: File) -> Story:
    return read_story(file.story)


def _module(network: Recognised, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    if network.program is not None:
        return build_program(network.program, network.state, mean, std)
    if is_factory(network.architecture):
        return build_own(network.architecture, network.config, network.state, mean, std)
    return load_strictly(build(network.architecture, network.config, mean, std), network.state)


def _measured(
    options: Iterable[tuple[str, Recognised]], measured: Iterable[tuple[evidence.Measured, ...]]
) -> list[Candidate]:
    pairs = zip(options, measured, strict=True)
    return [
        Candidate(
            net.architecture,
            net.config,
            describe_wiring(net.architecture, net.config),
            path,
            {},
            tuple(one.to_dict() for one in results),
        )
        for (path, net), results in pairs
    ]


def _with_open(options: Iterable[tuple[str, Recognised]], asked: Asked) -> list[Candidate]:
    """One candidate per structure, with the open settings that distinguish its wirings."""
    unique: dict[str, Candidate] = {}
    for path, network in options:
        named = UNSEEN.get(network.architecture, {})
        still_open = {key: tuple(choices) for key, choices in named.items() if key not in asked.config}
        shown = {key: value for key, value in network.config.items() if key not in still_open}
        one = Candidate(network.architecture, shown, describe(network.architecture, shown), path, still_open)
        unique.setdefault(f"{path} {network.architecture} {sorted(shown.items())}", one)
    return list(unique.values())
