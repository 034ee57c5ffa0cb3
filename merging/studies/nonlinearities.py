"""Nonlinearities that units have learned, in A, in their partners in B, and in the merge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.errors import InvalidRequest
from merging.results.intervals import finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

SLOTS = ("A", "pi(B)", "merge")
POINTS = 61


@saved
@dataclass(frozen=True)
class Nonlinearities:
    """Function of each unit in the networks of SLOTS.

    Attributes:
        layers: names of the modules, in network order.
        x: (P,) inputs.
        curves: name -> (3, U, P), networks in order of SLOTS, units in A's order.
    """

    layers: tuple[str, ...]
    x: np.ndarray
    curves: dict[str, np.ndarray]

    def distance(self, layer: str) -> np.ndarray:
        """Root mean square difference (U,), over x, of the functions of A's unit and of its partner."""
        a, b, _ = self.curves[layer]
        return np.sqrt(np.mean((a - b) ** 2, axis=1))


@dataclass(frozen=True)
class NonlinearitySettings:
    """Range of the inputs."""

    reach: float = setting(4.0, low=0.1, high=1000.0, label="Inputs", help="From minus this value to plus this value.")


@study(
    "nonlinearities",
    label="Learned nonlinearities",
    summary="The function that each unit has learned, in A, in its partner in B and in the merge.",
    source="Geadah, Kerg, Horoi, Wolf, Lajoie 2020 (gain and saturation per unit)",
    settings=NonlinearitySettings,
    page="why",
    needs_data=False,
    numbers={
        "distance": Number(
            "Distance of the functions of matched units",
            lambda found: finite_mean(np.concatenate([found.distance(name) for name in found.layers])),
        ),
    },
)
def nonlinearities(subject: Subject, settings: NonlinearitySettings) -> Nonlinearities:
    """Evaluate the units' functions at POINTS inputs. Raises InvalidRequest where no unit has a learned function."""
    import torch

    from merging.analysis.causes.nonlinearity import learned_curves, learned_nonlinearities

    modules = {slot: learned_nonlinearities(subject.nets[slot]) for slot in SLOTS}
    names = tuple(modules["A"])
    if not names:
        raise InvalidRequest(
            "The units of these networks have no nonlinearities of their own: no module applies a separate learned "
            "function to each unit, as in the architecture `adaptive` or in PReLU per channel."
        )
    subject.report("studying", 0.5, f"functions of {len(names)} layers")
    x = torch.linspace(-settings.reach, settings.reach, POINTS)
    curves = {slot: learned_curves(modules[slot], x) for slot in SLOTS}
    stacked = {name: np.stack([curves[slot][name].numpy() for slot in SLOTS]) for name in names}
    return Nonlinearities(names, x.numpy(), stacked)
