"""CKA from minibatches: the same definition, summed before the ratio is taken."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.similarity.cka import cka
from merging.analysis.similarity.minibatch import doubly_centred
from merging.errors import InvalidSetting
from tests.analysis.test_cka import conv, debiased_hsic


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(1).random((75, 1, 8, 8), dtype=np.float32))


def covariance(x, y):
    return (x - x.mean(0)).T @ (y - y.mean(0)) / (len(x) - 1)


def split_hsic(x, y):
    """The product of a third's covariance of x and y with that of the other two thirds."""
    cut = max(2, len(x) // 3)
    return (covariance(x[:cut], y[:cut]) * covariance(x[cut:], y[cut:])).sum()


@pytest.mark.parametrize("size", [4, 5, 6])
def test_over_all_minibatches_their_products_are_hsic_1_of_all_images(size):
    x, y = (np.random.default_rng(seed).standard_normal((7, 3)) for seed in (0, 1))
    orders = np.array(list(itertools.permutations(range(7), size)))
    cut = max(2, size // 3)
    blocks = torch.from_numpy(np.stack([z[orders[:, :cut]] @ z[orders[:, cut:]].transpose(0, 2, 1) for z in (x, y)]))
    centred, squares = doubly_centred(blocks)
    products = centred @ centred.T / ((cut - 1) * (size - cut - 1) * len(orders))
    for row, z in enumerate((x, y)):
        found = [debiased_hsic(z, other) for other in (x, y)]
        np.testing.assert_allclose(products[row], found, atol=1e-12)
        assert float(squares[row]) == pytest.approx(float((blocks[row] ** 2).sum()))


@pytest.mark.parametrize("treatment", ["pooled", "flattened"])
@pytest.mark.parametrize("size", [4, 32, 40, 64, 512])
def test_minibatches_sum_their_hsics_before_the_ratio(images, treatment, size):
    a, b = conv(0, inplace=False), conv(1, inplace=False)
    many = torch.cat([images, images.flip(-1) ** 2, images.flip(-2) + 3] * 3)  # 675: more than are held at once
    found = cka(a, b, many, treatment=treatment, layers=["3", "8"], minibatch=size, seed=5)
    drawn = many[np.random.default_rng(5).permutation(len(many))]
    with torch.no_grad():
        read = [[net[:4](drawn), net(drawn)] for net in (a, b)]
    read = [
        [x.flatten(2).mean(2) if x.ndim == 4 and treatment == "pooled" else x.flatten(1) for x in net] for net in read
    ]

    def total(x, y):
        return sum(split_hsic(*(side[i : i + size].double().numpy() for side in (x, y))) for i in whole)

    whole = range(0, len(many) // size * size, size)
    expected = [[total(x, y) / math.sqrt(total(x, x) * total(y, y)) for y in read[1]] for x in read[0]]
    np.testing.assert_allclose(found.values, expected, atol=2e-5)
    assert (found.estimator, found.images) == (f"debiased, minibatches of {size}", len(whole) * size)


def test_a_minibatch_holds_no_more_than_there_are_images(images):
    found = [cka(conv(0), conv(1), images, minibatch=size) for size in (75, 512)]
    assert found[0].estimator == found[1].estimator == "debiased, minibatches of 75"
    assert np.array_equal(found[0].values, found[1].values)


@pytest.mark.parametrize("treatment", ["pooled", "flattened"])
def test_no_cell_leaves_the_range_of_a_similarity(images, treatment):
    own = cka(conv(0), conv(0), images, treatment=treatment, minibatch=4).values
    assert np.diag(own) == pytest.approx(1, abs=1e-12)
    other = cka(conv(0), conv(5), images, treatment=treatment, minibatch=4).values
    assert np.abs(np.stack([own, other])).max() <= 1 + 1e-12


def test_minibatches_come_close_to_all_images_and_a_seed_draws_them(images):
    many = (
        torch.from_numpy(np.random.default_rng(3).random((3000, 1, 8, 8), dtype=np.float32))
        + torch.linspace(0, 1, 3000)[:, None, None, None]
    )
    exact = cka(conv(0), conv(1), many).values
    found = [cka(conv(0), conv(1), many, minibatch=16, seed=seed).values for seed in (0, 0, 1)]
    np.testing.assert_allclose(found[0], exact, atol=0.03)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    flat = cka(conv(0), conv(0), many, treatment="flattened", minibatch=8)  # exact: 2048 images at most
    assert np.diag(flat.values) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("width", [3, 5, 8])
def test_a_layer_that_varies_by_rounding_alone_is_undefined_in_minibatches_too(width):
    class Ones(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.head = nn.Linear(64, width), nn.Linear(1, 4)

        def forward(self, x):
            return self.head(self.hidden(x.flatten(1)).softmax(1).sum(1, keepdim=True).relu())

    torch.manual_seed(0)
    net, many = Ones().eval(), torch.rand(600, 1, 8, 8)
    exact, found = (cka(net, conv(1), many, minibatch=size).values for size in (None, 32))
    assert np.isnan(exact[1:]).all() and np.array_equal(np.isnan(exact), np.isnan(found))


def test_minibatches_leave_dead_layers_undefined_and_refuse_what_they_cannot_estimate(images):
    model = conv(0)
    with torch.no_grad():
        model[3].weight.zero_()
    found = cka(model, conv(1), images, minibatch=8).values
    assert np.isnan(found[[3, 4, 5, 6, 7]]).all()
    assert np.isfinite(np.delete(found, [3, 4, 5, 6, 7], axis=0)).all()
    for size in (3, 513):
        with pytest.raises(InvalidSetting, match="4 to 512"):
            cka(model, model, images, minibatch=size)
    with pytest.raises(InvalidSetting, match="only estimate the debiased CKA"):
        cka(model, model, images, estimator="biased", minibatch=8)
