"""Optimal transport between two sets of units of equal mass: exact, or with entropic regularisation."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import kron, vstack
from torch import Tensor

LARGEST_ASSIGNMENT = 4096  # largest lcm(n, m) for which the exact plan is solved as an assignment of lcm(n, m) parts
ITERATIONS = 1000


def exact_plan(costs: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """Return the plan (n, m) of lowest cost with row sums 1/n and column sums 1/m. costs: (n, m).

    Each unit's mass is a whole number of parts of mass 1/lcm(n, m), so the plan is an assignment of parts. If there are
    too many parts, a linear programme with n m variables is solved instead. For n = m, the plan is a permutation matrix
    divided by n.
    """
    n, m = costs.shape
    parts = math.lcm(n, m)
    values = costs.detach().cpu().double().numpy()
    plan = np.zeros((n, m))
    if parts <= LARGEST_ASSIGNMENT:
        rows, columns = linear_sum_assignment(values.repeat(parts // n, 0).repeat(parts // m, 1))
        np.add.at(plan, (rows // (parts // n), columns // (parts // m)), 1 / parts)
    else:
        sums = [kron(np.eye(n), np.ones((1, m)), "csr"), kron(np.ones((1, n)), np.eye(m), "csr")]
        masses = [np.full(n, 1 / n), np.full(m, 1 / m)]
        solution = linprog(values.ravel(), A_eq=vstack(sums), b_eq=np.concatenate(masses), method="highs")
        plan = solution.x.reshape(n, m)
    return torch.from_numpy(plan)


def entropic_plan(costs: Float[Tensor, "n m"], regularisation: float) -> Float[Tensor, "n m"]:
    """Return the plan (n, m) that minimises cost - regularisation * entropy, by Sinkhorn's iteration in the log domain.

    costs: (n, m).  regularisation: relative to the mean cost.
    """
    n, m = costs.shape
    scores = -costs.detach().cpu().double() / (regularisation * float(costs.mean()) or 1.0)
    rows, columns = torch.zeros(n, 1, dtype=torch.float64), torch.zeros(1, m, dtype=torch.float64)
    for _ in range(ITERATIONS):
        before = rows
        rows = -math.log(n) - (scores + columns).logsumexp(1, keepdim=True)
        columns = -math.log(m) - (scores + rows).logsumexp(0, keepdim=True)
        if float((rows - before).abs().max()) < 1e-9:
            break
    return (scores + rows + columns).exp()
