"""Merges of as many networks as are allowed."""

import pytest

from merging.methods.registry import table
from merging.pipeline.merge import merge
from tests.nets.pairs import blobs, make, same, tensors_of, twin

# The other permuting methods see two networks at a time, like weight matching.
JOINT = [key for key, method in table("align").items() if method.joint and method.permutes]


@pytest.mark.parametrize("align", ["weight-matching", *JOINT])
def test_thirty_two_re_ordered_copies_of_a_network_merge_into_it(align: str) -> None:
    net = make("mlp", 0)
    copies = [net, *(twin("mlp", net, seed)[0] for seed in range(31))]
    assert same(tensors_of(merge(copies, align=align, data=blobs(64)).merged), tensors_of(net))
