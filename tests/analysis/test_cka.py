import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from merging.analysis.similarity.cka import cka, linear_cka
from merging.analysis.similarity.hsic import gram, prefers_grams, represent, similarity
from merging.errors import DataUnavailable, InvalidRequest, InvalidSetting, UnknownLayer
from merging.network.data import as_batches
from merging.network.permutation import permute
from merging.network.tracing.tracer import trace


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def debiased_hsic(x, y):
    """HSIC_1 term by term from the definition (Nguyen et al. 2021, eq. 3)."""
    n, one = len(x), np.ones(len(x))
    k, m = (products - np.diag(np.diag(products)) for products in (x @ x.T, y @ y.T))
    rest = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    return (np.trace(k @ m) + rest) / (n * (n - 3))


def biased_hsic(x, y):
    """HSIC_0 from the definition (Nguyen et al. 2021, eq. 2), with explicit centring matrices."""
    h = np.eye(len(x)) - 1 / len(x)
    return np.trace(x @ x.T @ h @ y @ y.T @ h) / (len(x) - 1) ** 2


def naive(x, y, debiased):
    """CKA from the definition of either HSIC."""
    hsic = debiased_hsic if debiased else biased_hsic
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


def conv(seed, width=6, *, inplace=True):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 4),
    ).eval()


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(1).random((75, 1, 8, 8), dtype=np.float32))


def test_reference_values():
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    y = rng.randn(100, 10) + x
    assert linear_cka(x, y, debiased=False) == pytest.approx(0.55761, abs=5e-6)
    assert linear_cka(x, y) == pytest.approx(0.51346, abs=5e-6)


def test_only_the_debiased_estimator_tells_that_wide_features_are_independent():
    x, y = random(0, 64, 1024), random(1, 64, 1024)
    assert linear_cka(x, y, debiased=False) > 0.9
    assert abs(linear_cka(x, y)) < 0.1


@given(st.integers(5, 40), st.integers(1, 60), st.integers(1, 60), st.booleans(), st.integers(0, 99))
def test_features_and_grams_give_the_definition(n, p, q, debiased, seed):
    x = random(seed, n, p) + 5
    y = random(seed + 100, n, q) + np.resize(x[:, :1], (n, q))
    expected = naive(x, y, debiased)
    for grams in (True, False):
        forms = [represent([torch.from_numpy(side)], debiased, grams=grams) for side in (x, y)]
        assert similarity(*forms)[0, 0] == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert linear_cka(x, y, debiased) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(st.integers(6, 30), st.integers(2, 40), st.booleans(), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_order_rotation_scale_and_offset_of_the_features_do_not_matter(n, p, debiased, scale, seed):
    x, y = random(seed, n, p), random(seed + 1, n, p)
    rotation = np.linalg.qr(random(seed + 2, p, p))[0]
    shuffled = x[:, np.random.default_rng(seed).permutation(p)]
    value = linear_cka(x, y, debiased)
    for changed in (shuffled, x @ rotation, x * scale, x + 7):
        assert linear_cka(changed, y, debiased) == pytest.approx(value, rel=1e-6, abs=1e-8)
        assert linear_cka(x, changed, debiased) == pytest.approx(1, abs=1e-6)
    assert linear_cka(y, x, debiased) == pytest.approx(value, rel=1e-9)


def test_other_linear_maps_do_matter():
    x = random(0, 200, 5)
    stretched = x * np.array([30, 1, 1, 1, 1])
    assert linear_cka(x, stretched) < 0.6


def test_float32_far_from_zero_keeps_its_digits():
    x, y = random(0, 100, 20), random(1, 100, 20)
    far = [(side + 1000).astype(np.float32) for side in (x, y)]
    assert linear_cka(*far) == pytest.approx(linear_cka(x, y), abs=1e-4)


def test_values_are_not_clamped():
    values = [linear_cka(random(seed, 10, 30), random(seed + 50, 10, 30)) for seed in range(20)]
    assert min(values) < 0


def test_what_does_not_vary_is_undefined_and_constant_units_beside_others_count_as_nothing():
    x, y = random(0, 50, 8), random(1, 50, 8)
    dead = np.full((50, 3), 0.1, dtype=np.float32)
    assert math.isnan(linear_cka(dead, y))
    assert math.isnan(linear_cka(x, dead, debiased=False))
    assert math.isnan(linear_cka(dead, np.full((50, 300), 0.3, dtype=np.float32)))
    assert linear_cka(np.hstack([x, np.full((50, 3), 1e6)]), y) == pytest.approx(linear_cka(x, y), abs=1e-9)


@pytest.mark.parametrize("n", [4, 6, 7, 31])
def test_images_that_are_all_equally_far_apart_have_no_debiased_self_similarity(n):
    simplex, x = np.eye(n), random(0, n, 5)
    assert math.isnan(linear_cka(simplex, x))
    for grams in (True, False):
        forms = [represent([torch.from_numpy(side)], True, grams=grams) for side in (simplex, x)]
        assert np.isnan(similarity(*forms)).all()
    assert math.isfinite(linear_cka(simplex, x, debiased=False))


def test_too_few_images_and_other_images_are_refused():
    assert math.isfinite(linear_cka(random(0, 4, 3), random(1, 4, 3)))
    with pytest.raises(DataUnavailable, match="at least 4"):
        linear_cka(random(0, 3, 3), random(1, 3, 3))
    with pytest.raises(DataUnavailable, match="same images"):
        linear_cka(random(0, 5, 3), random(1, 6, 3))


def test_the_cheaper_form_is_chosen():
    assert not prefers_grams(2000, [64] * 20)
    assert prefers_grams(512, [16384] * 20)
    assert not prefers_grams(20000, [2048] * 60)  # cheaper by Grams, which would need 192 GB


@pytest.mark.parametrize("treatment", ["pooled", "flattened"])
@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_a_map_holds_every_pair_of_layers_as_if_compared_alone(images, treatment, estimator):
    a, b = conv(0, inplace=False), conv(1, 4, inplace=False)
    found = cka(a, b, images, estimator=estimator, treatment=treatment)
    assert found.row_layers == found.column_layers == ("0", "1", "2", "3", "4", "5", "6", "8")
    assert (found.row, found.column, found.estimator, found.treatment, found.images) == (
        *("A", "B", estimator, treatment),
        75,
    )

    def responses(model):
        outputs = [images]
        for module in model:
            outputs.append(module(outputs[-1]).detach())
        kept = [o for o, module in zip(outputs[1:], model, strict=True) if not isinstance(module, nn.Flatten)]
        return [o.flatten(2).mean(2) if treatment == "pooled" and o.ndim == 4 else o.flatten(1) for o in kept]

    left, right = responses(a), responses(b)
    expected = [[linear_cka(x, y, estimator == "debiased") for y in right] for x in left]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


@pytest.mark.parametrize("treatment", ["pooled", "flattened"])
def test_the_order_of_units_does_not_matter(images, treatment):
    a, b = conv(0), conv(1)
    spec = trace(b, images[:2])
    moved = permute(b, spec, spec.random(3))
    found = [cka(a, other, images, treatment=treatment).values for other in (b, moved)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.diag(cka(b, moved, images, treatment=treatment).values) == pytest.approx(1, abs=1e-5)


def test_neither_batches_nor_in_place_operations_change_a_value(images):
    labels = torch.zeros(len(images), dtype=torch.int64)
    whole = cka(conv(0), conv(1), images).values
    for size in (75, 72, 37, 2):  # a last batch of 75, 3, 1 and 1
        found = cka(conv(0, inplace=False), conv(1), as_batches((images, labels), size)).values
        np.testing.assert_allclose(found, whole, atol=1e-5)


def test_the_convolution_is_read_before_the_in_place_activation(images):
    found = cka(conv(0), conv(0), images, layers=["0", "1"])
    assert found.row_layers == ("0", "1")
    assert found.values[0, 0] == pytest.approx(1, abs=1e-6)
    assert found.values[0, 1] < 0.999


def test_a_dead_layer_is_not_a_number_and_spoils_nothing_else(images):
    model = conv(0)
    with torch.no_grad():
        model[3].weight.zero_()
    found = cka(model, conv(1), images).values
    dead = [3, 4, 5, 6, 7]
    assert np.isnan(found[dead]).all()
    assert np.isfinite(np.delete(found, dead, axis=0)).all()


def test_the_models_are_left_as_they_were(images):
    model = conv(0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cka(model, conv(1), images)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_compared_is_refused_in_words(images):
    with pytest.raises(UnknownLayer, match="features"):
        cka(conv(0), conv(1), images, layers=["features.0"])
    with pytest.raises(InvalidSetting, match="No layer is named"):
        cka(conv(0), conv(1), images, layers=[])
    with pytest.raises(InvalidSetting, match="debiased, biased"):
        cka(conv(0), conv(1), images, estimator="best")
    with pytest.raises(InvalidSetting, match="pooled or flattened"):
        cka(conv(0), conv(1), images, treatment="summed")
    with pytest.raises(DataUnavailable, match="at least 4"):
        cka(conv(0), conv(1), images[:3])
    with pytest.raises(InvalidRequest, match="at most 2048"):
        cka(conv(0), conv(1), torch.zeros(2049, 1, 8, 8), treatment="flattened")


def test_a_gram_holds_the_products_of_centred_rows():
    x = random(0, 7, 9000) + 3  # more columns than are read at a time
    centred = x - x.mean(0)
    np.testing.assert_allclose(gram(torch.from_numpy(x)).numpy(), centred @ centred.T, atol=1e-9)
