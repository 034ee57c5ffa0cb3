"""How every ATen operator carries units from its inputs to its output: `RULES`, one small function an operator.

A rule takes the operation and the operator's own arguments, with a `Layout` in place of every tensor, and gives the
layout of the result (a list for several tensors). It unites the units that must be permuted alike. The law that every
rule keeps: if each input is permuted as its layout says, the result is permuted as the returned layout says.
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
