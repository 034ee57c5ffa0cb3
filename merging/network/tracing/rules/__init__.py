"""`RULES`: one small function per ATen operator that maps the units of its inputs to the units of its output.

A rule takes the operation and the operator's own arguments, with a `Layout` in place of every tensor, and returns the
layout of the result (a list for several tensors). It unifies the units that must have the same permutation. Every rule
guarantees: if each input is permuted as its layout says, the result is permuted as the returned layout says.
"""

from merging.network.tracing.rules import (
    attention,
    constants,
    contractions,
    elementwise,
    indexing,
    normalisation,
    recurrent,
    reductions,
    shapes,
    windows,
)
from merging.network.tracing.rules.base import RULES, Operation
from merging.network.tracing.rules.refusals import refusal

__all__ = ["RULES", "Operation", "refusal"]

_FAMILIES = (
    attention,
    constants,
    contractions,
    elementwise,
    indexing,
    normalisation,
    recurrent,
    reductions,
    shapes,
    windows,
)
