"""The shapes that functions of the core declare are checked while the tests run, and a wrong one is caught."""

import pytest
import torch
from jaxtyping import TypeCheckError

from merging.analysis.activations.responses import correlations
from merging.analysis.similarity.hsic import centred, gram
from merging.methods.algorithms.coordinate_descent import assign
from merging.methods.algorithms.transport import exact_plan


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (gram, torch.zeros(4)),
        (centred, torch.zeros(4, 3, 2)),
        (centred, torch.zeros(4, 3, dtype=torch.int64)),
        (assign, torch.zeros(3, 4)),
        (exact_plan, torch.zeros(3)),
        (correlations, [torch.zeros(5)]),
    ],
)
def test_a_wrong_shape_or_type_is_caught(function, value):
    with pytest.raises(TypeCheckError):
        function(value)


def test_right_shapes_pass():
    assert gram(torch.randn(4, 3)).shape == (4, 4)
    assert assign(torch.eye(3)).tolist() == [0, 1, 2]
