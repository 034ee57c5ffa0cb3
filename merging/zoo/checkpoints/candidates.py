"""What a checkpoint may be: the known networks whose tensors it has, with what images say of each. torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from merging.errors import AmbiguousCheckpoint
from merging.zoo.architectures.names import describe_wiring, unseen, with_known

SHOWN = 12


@dataclass(frozen=True)
class Candidate:
    """A network that fits the tensors.

    weights: where its tensors stand in the file, "" for the file itself.  open: settings that nothing decides, with
    their choices.  measured: accuracies under each normalisation, the best first, as `evidence.Measured.to_dict` gives
    them; () where no images were tried.
    """

    architecture: str
    config: dict[str, Any]
    label: str
    weights: str = ""
    open: Mapping[str, Sequence[str]] = field(default_factory=dict)
    measured: tuple[Mapping[str, Any], ...] = ()

    @property
    def accuracy(self) -> float | None:
        """In 0..1 on the images that were tried, under the best normalisation; None where none were."""
        return self.measured[0]["accuracy"] if self.measured else None

    @property
    def choices(self) -> tuple[Candidate, ...]:
        """The candidate with each choice of what is still open; itself where nothing is."""
        picked = product(*([(setting, choice) for choice in choices] for setting, choices in self.open.items()))
        configs = [with_known(self.config, dict(pairs)) for pairs in picked]
        return tuple(replace(self, config=c, label=describe_wiring(self.architecture, c), open={}) for c in configs)

    @property
    def arguments(self) -> str:
        """What chooses it on the command line."""
        words = [f"--weights {self.weights}"] if self.weights else []
        words += [f"--architecture {self.architecture}"] if self.architecture else []
        settings = unseen(self.architecture, self.config)
        return " ".join([*words, *(f"--config {key}={value}" for key, value in settings.items())])

    @property
    def line(self) -> str:
        """One line for a list: what it is, what images say of it, and what chooses it."""
        parts = [self.label + (f" from {self.weights}" if self.weights else "")]
        parts += [evidence_words(self.measured)] if self.measured else []
        asked = "; ".join(f"{setting}: {', '.join(choices)}" for setting, choices in self.open.items())
        parts += [f"to be said: {asked}"] if asked else []
        return " | ".join([*parts, self.arguments])

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with `accuracy`."""
        values = {**asdict(self), "accuracy": self.accuracy}
        return {**values, "open": {key: list(choices) for key, choices in self.open.items()}}


def evidence_words(measured: Sequence[Mapping[str, Any]]) -> str:
    """ "91.2 % of 500 test images, loss .312, with mean 0, std 1 (23.0 % with ImageNet's mean and std)"."""
    if not measured:
        return "not measured"
    first, *others = measured
    text = f"{100 * first['accuracy']:.1f} % of {first['images']} test images, loss {first['loss']:.3f}, with "
    text += str(first["normalisation"])
    rest = ", ".join(f"{100 * one['accuracy']:.1f} % with {one['normalisation']}" for one in others)
    level = "" if first["above_chance"] else f", which is chance ({100 * first['chance']:.0f} %)"
    return f"{text}{level}" + (f" ({rest})" if rest else "")


def shared_normalisation(measured: Sequence[Sequence[Mapping[str, Any]]]) -> str | None:
    """The normalisation under which all networks of a merge are best together.

    None where none was measured on all, or each would bring one of them down to chance. Files that state different
    numbers share none, though both are called stated.
    """
    ways = [{str(one["normalisation"]): one for one in results} for results in measured]
    alike = [{(words, tuple(one["mean"]), tuple(one["std"])) for words, one in way.items()} for way in ways]
    shared = {words for words, _, _ in set.intersection(*alike)} if alike else set()
    good = [way for way in ways if any(one["above_chance"] for one in way.values())]
    fitting = sorted(words for words in shared if all(way[words]["above_chance"] for way in good))
    return max(fitting, key=lambda words: sum(float(way[words]["accuracy"]) for way in ways), default=None)


def ambiguous(candidates: Sequence[Candidate], why: str) -> AmbiguousCheckpoint:
    """The question that several candidates are. why: what leaves them open, in words."""
    ordered = sorted(candidates, key=lambda one: -(one.accuracy or 0.0))
    lines = [candidate.line for candidate in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"and {len(ordered) - SHOWN} more")
    kinds = ", ".join(dict.fromkeys(candidate.architecture for candidate in ordered))
    head = (
        f"A state dict does not say how its layers are wired. These tensors fit {len(ordered)} networks ({kinds}), and "
        f"{why}. Choose one by the arguments at the end of its line:"
        if len(ordered) > 1
        else f"A state dict does not say how its layers are wired. These tensors fit one known network, but {why}."
    )
    return AmbiguousCheckpoint("\n".join([head, *lines]), tuple(ordered), why)
