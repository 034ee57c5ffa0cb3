"""Scores of networks whose heads know different classes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from merging.analysis.path.heads import head_scores, measure_heads
from merging.errors import DataUnavailable, InvalidRequest
from merging.pipeline.partial_zip import partial_zips
from merging.results.zip_report import ZipReport, labels_of
from tests.nets.pairs import blobs, make

IMAGES = torch.arange(6).float()
LABELS = torch.tensor([0, 1, 2, 3, 0, 3])


def told(*answers: Tensor):
    """A net whose heads' logits are those, whatever the images; as one batch."""
    return head_scores(lambda images: torch.cat(answers, 1), [[0, 1], [3, 2]], [(IMAGES, LABELS)])


def test_every_head_is_asked_about_its_own_classes_alone() -> None:
    first = one_hot(torch.tensor([0, 1, 0, 0, 1, 0]), 2).float()  # right on images 0 and 1, wrong on 4
    second = one_hot(torch.tensor([0, 0, 1, 0, 0, 1]), 2).float()  # its outputs are classes 3 and 2: right on 2 and 3
    scores = told(first, second)
    assert scores.heads == pytest.approx((2 / 3, 2 / 3))


def test_all_heads_together_answer_with_the_largest_logit_of_any() -> None:
    loud, right = torch.tensor([[9.0, 0.0]] * 6), one_hot(torch.tensor([0, 0, 1, 0, 0, 0]), 2).float()
    scores = told(loud, right)
    assert scores.heads == pytest.approx((2 / 3, 1.0))  # image 1 is class 1, and the first head says class 0
    assert scores.joint == pytest.approx(2 / 6)  # the first head always answers, and always class 0


def test_batches_count_by_their_images() -> None:
    net = lambda images: torch.stack([images, -images], 1)  # noqa: E731
    whole = head_scores(net, [[0, 1]], [(IMAGES - 2.5, LABELS)])
    parts = head_scores(net, [[0, 1]], [(IMAGES[:1] - 2.5, LABELS[:1]), (IMAGES[1:] - 2.5, LABELS[1:])])
    assert whole == parts


def test_heads_that_share_a_class_have_no_joint_answer() -> None:
    scores = head_scores(lambda images: torch.zeros(6, 4), [[0, 1], [1, 2]], [(IMAGES, LABELS)])
    assert math.isnan(scores.joint)


def test_outputs_are_told_by_the_names_of_their_classes() -> None:
    assert labels_of(("dog", "ant"), ("ant", "bee", "dog"), "mine") == [2, 0]
    for classes in ((), ("cat",)):
        with pytest.raises(InvalidRequest, match="The classes of mine are"):
            labels_of(classes, ("ant", "bee"), "mine")
    with pytest.raises(InvalidRequest, match="mine names the class bee for two outputs"):
        labels_of(("bee", "ant", "bee"), ("ant", "bee"), "mine")


def test_a_network_that_knows_none_of_the_images_is_not_given_an_accuracy() -> None:
    nets = [make("cnn", 0), make("cnn", 1)]
    nets[1][-1] = nn.Linear(18, 2)
    zips = partial_zips([net.eval() for net in nets], blobs(100))
    with pytest.raises(DataUnavailable, match="None of the 100 test images belongs to a class of network B"):
        measure_heads(zips, [range(5), [5, 6]], blobs(100))


def test_shares_are_exact_fractions() -> None:
    """In float32, 920 less 900 of 1000 would be more than .02."""
    data = [(torch.arange(1000).float(), torch.zeros(1000, dtype=torch.int64))]
    right = [head_scores(lambda x, n=n: torch.stack([x < n, x >= n], 1).float(), [[0, 1]], data) for n in (920, 900)]
    assert [one.heads[0] for one in right] == [0.92, 0.9] and right[0].counts == (1000,)
    report = ZipReport(("A",), ("l",), np.array([[0.9]]), np.array([0.9]), np.array([0.92]), 0.92, np.ones(1), 1000)
    assert report.deepest(0.02) == 0


def test_a_head_whose_logits_are_not_numbers_is_never_right() -> None:
    nothing, right = torch.full((6, 2), torch.nan), one_hot(torch.tensor([0, 0, 1, 0, 0, 0]), 2).float()
    scores = told(nothing, right)
    assert scores.heads == pytest.approx((0.0, 1.0)) and scores.joint == 0.0
