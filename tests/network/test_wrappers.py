"""What people wrap networks in: merged as it is, or told what to give in its place."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from merging.analysis.path.interpolation import interpolate
from merging.analysis.similarity.cka import cka
from merging.errors import IncompatibleModels, MergescopeError, UnsupportedOperation
from merging.network.tracing.tracer import trace
from merging.pipeline.merge import merge

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(2))
DATA = (X, torch.arange(20) % 3)


def net(seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)).eval()


class Anything(nn.Module):
    """Hands on whatever it is given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        return self.inner(*args, **options)


class Two(nn.Module):
    """Takes two inputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + offset


def altered(seed: int, alter) -> nn.Module:
    model = net(seed).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against some of these
        alter(model[0])
        model(X)
    return model.eval()


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel, Anything], ids=lambda wrap: wrap.__name__)
def test_wrappers_that_hand_on_are_merged_as_what_is_inside(wrap: type[nn.Module]) -> None:
    wrapped, plain = [wrap(net(seed)) for seed in (0, 1)], [net(0), net(1)]
    result, expected = merge(wrapped, example=X[:2]), merge(plain, example=X[:2])
    assert type(result.merged) is wrap
    assert result.notes["equivalence"] < 1e-12
    assert torch.equal(result.merged(X), expected.merged(X))
    assert interpolate(*wrapped, DATA, points=3).loss.tolist() == interpolate(*plain, DATA, points=3).loss.tolist()
    assert cka(*wrapped, X).values.tolist() == cka(*plain, X).values.tolist()


PERMANENT = {
    "pruned": (lambda layer: prune.l1_unstructured(layer, "weight", 0.3), r"prune\.remove\(layer, 'weight'\)"),
    "weight norm": (nn.utils.weight_norm, r"remove_weight_norm\(layer, 'weight'\)"),
    "spectral norm": (nn.utils.spectral_norm, r"remove_spectral_norm\(layer, 'weight'\)"),
}


@pytest.mark.parametrize("name", PERMANENT)
def test_layers_that_make_their_weight_anew_are_refused_with_the_call_that_ends_it(name: str) -> None:
    alter, words = PERMANENT[name]
    pair = [altered(seed, alter) for seed in (0, 1)]
    for run in (
        lambda: merge(pair, example=X[:2]),
        lambda: trace(pair[0], X[:2]),
        lambda: interpolate(*pair, DATA, points=3),
        lambda: cka(*pair, X),
    ):
        with pytest.raises(UnsupportedOperation, match=f"its layer 0 recomputes weight.*{words}"):
            run()
    if name == "pruned":
        for model in pair:
            prune.remove(model[0], "weight")
        assert merge(pair, example=X[:2]).notes["equivalence"] < 1e-12


PARAMETRIZED = {
    "weight norm": (parametrizations.weight_norm, ""),
    "spectral norm": (parametrizations.spectral_norm, "_u is not the same.*remove_parametrizations"),
    "orthogonal": (parametrizations.orthogonal, "householder.*remove_parametrizations"),
}


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_parametrized_layers_merge_or_are_refused_with_the_call_that_ends_it(name: str) -> None:
    alter, words = PARAMETRIZED[name]
    pair = [altered(seed, alter) for seed in (0, 1)]
    if words:
        with pytest.raises(MergescopeError, match=words):
            merge(pair, example=X[:2])
        for model in pair:
            torch.nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert merge(pair, example=X[:2]).notes["equivalence"] < 1e-9


def test_masks_of_pruned_weights_that_differ_are_refused_by_name() -> None:
    pair = [altered(seed, PERMANENT["pruned"][0]) for seed in (0, 1)]
    with torch.no_grad():  # the finished weight is then no result of a pass, and torch copies it
        for model in pair:
            model(X)
    with pytest.raises(IncompatibleModels, match=r"0\.weight_mask is not the same.*prune\.remove"):
        merge(pair, example=X[:2])


def test_what_torch_makes_of_a_network_is_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted, compiled = torch.jit.trace(net(0), X), torch.compile(net(0))
    with pytest.raises(UnsupportedOperation, match=r"torch\.compile.*net\._orig_mod"):
        trace(compiled, X[:2])
    with pytest.raises(UnsupportedOperation, match=r"torch\.compile.*net\._orig_mod"):
        merge([compiled, compiled], example=X[:2])
    with pytest.raises(UnsupportedOperation, match="TorchScript program"):
        trace(scripted, X[:2])


def test_a_network_of_two_inputs_is_told_what_helps() -> None:
    with pytest.raises(UnsupportedOperation, match=r"'offset'.*wrap it in a module"):
        trace(Two(net(0)), X[:2])
