"""Candidates for a checkpoint: the known networks that its tensors fit, with accuracies on images. torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from merging.errors import AmbiguousCheckpoint, InvalidSetting
from merging.zoo.architectures.names import describe_wiring, unseen, with_known

SHOWN = 12


@dataclass(frozen=True)
class Candidate:
    """A network that fits the tensors.

    Attributes:
        label: readable name of the architecture.
        weights: key path to its tensors inside the file, "" if they are at the top level.
        open: undecided settings -> their choices.
        measured: one `evidence.Measured.to_dict` per normalisation, the best first; () if there were no images.
    """

    architecture: str
    config: dict[str, Any]
    label: str
    weights: str = ""
    open: Mapping[str, Sequence[str]] = field(default_factory=dict)
    measured: tuple[Mapping[str, Any], ...] = ()

    @property
    def accuracy(self) -> float | None:
        """Accuracy in 0..1 on the test images, under the best normalisation; None if there were no images."""
        return self.measured[0]["accuracy"] if self.measured else None

    @property
    def choices(self) -> tuple[Candidate, ...]:
        """One candidate per combination of choices for the open settings; only this candidate if none is open."""
        picked = product(*([(setting, choice) for choice in choices] for setting, choices in self.open.items()))
        configs = [with_known(self.config, dict(pairs)) for pairs in picked]
        return tuple(replace(self, config=c, label=describe_wiring(self.architecture, c), open={}) for c in configs)

    @property
    def arguments(self) -> str:
        """Command-line arguments that select this candidate."""
        words = [f"--weights {self.weights}"] if self.weights else []
        words += [f"--architecture {self.architecture}"] if self.architecture else []
        settings = unseen(self.architecture, self.config)
        return " ".join([*words, *(f"--config {key}={value}" for key, value in settings.items())])

    @property
    def line(self) -> str:
        """One line for a list: label, accuracies, open settings, and the arguments that select this candidate."""
        parts = [self.label + (f" from {self.weights}" if self.weights else "")]
        parts += [evidence_words(self.measured)] if self.measured else []
        asked = "; ".join(f"{setting}: {', '.join(choices)}" for setting, choices in self.open.items())
        parts += [f"to be chosen: {asked}"] if asked else []
        return " | ".join([*parts, self.arguments])

    def to_dict(self) -> dict[str, Any]:
        """The fields and `accuracy` as JSON values."""
        values = {**asdict(self), "accuracy": self.accuracy}
        return {**values, "open": {key: list(choices) for key, choices in self.open.items()}}


def evidence_words(measured: Sequence[Mapping[str, Any]]) -> str:
    """Describe accuracies: "91.2 % of 500 test images, loss 0.312, with mean 0, std 1 (23.0 % with ImageNet's ...)"."""
    if not measured:
        return "not measured"
    first, *others = measured
    text = f"{100 * first['accuracy']:.1f} % of {first['images']} test images, loss {first['loss']:.3f}, with "
    text += str(first["normalisation"])
    rest = ", ".join(f"{100 * one['accuracy']:.1f} % with {one['normalisation']}" for one in others)
    level = "" if first["above_chance"] else f", no better than chance ({100 * first['chance']:.0f} %)"
    return f"{text}{level}" + (f" ({rest})" if rest else "")


def shared_normalisation(measured: Sequence[Sequence[Mapping[str, Any]]]) -> str | None:
    """Name of the normalisation with the highest total accuracy over all networks of a merge.

    None if no normalisation was measured on all networks, or if each of those leaves at chance some network that
    another normalisation lifts above it. Normalisations are the same if their numbers are equal: two files with
    different stated values share no normalisation, although both are named "the stated mean and std".

    measured: per network, one `evidence.Measured.to_dict` per normalisation.
    """
    ways = [{str(one["normalisation"]): one for one in results} for results in measured]
    keys = [{(words, tuple(one["mean"]), tuple(one["std"])) for words, one in way.items()} for way in ways]
    shared = {words for words, _, _ in set.intersection(*keys)} if keys else set()
    good = [way for way in ways if any(one["above_chance"] for one in way.values())]
    fitting = sorted(words for words in shared if all(way[words]["above_chance"] for way in good))
    return max(fitting, key=lambda words: sum(float(way[words]["accuracy"]) for way in ways), default=None)


def ambiguous(candidates: Sequence[Candidate], why: str) -> AmbiguousCheckpoint:
    """Error that lists the candidates and asks which one is meant. why: the reason that none is chosen, as a phrase."""
    ordered = sorted(candidates, key=lambda one: -(one.accuracy or 0.0))
    lines = [candidate.line for candidate in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"and {len(ordered) - SHOWN} more")
    kinds = ", ".join(dict.fromkeys(candidate.architecture for candidate in ordered))
    head = (
        f"A state dict does not say how its layers are wired. These tensors fit {len(ordered)} networks ({kinds}), and "
        f"{why}. Choose one with the arguments at the end of its line:"
        if len(ordered) > 1
        else f"A state dict does not say how its layers are wired. These tensors fit one known network, but {why}."
    )
    return AmbiguousCheckpoint("\n".join([head, *lines]), tuple(ordered), why)


def check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Raise InvalidSetting if only one of mean and std is stated: the other cannot be known."""
    if (mean is None) != (std is None):
        stated, missing = ("mean", "std") if std is None else ("std", "mean")
        raise InvalidSetting(f"The {stated} of the images is given, but not their {missing}: give both, or neither.")
