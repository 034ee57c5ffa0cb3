"""The contract of every entry of the method tables, whatever methods there are."""

import copy
import dataclasses
import json
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from merging.errors import InvalidSetting
from merging.methods.algorithms.channel_repair import correction_data
from merging.methods.combine.average import average
from merging.methods.problem import Problem
from merging.methods.recipes import RECIPES
from merging.methods.registry import ROLES, Method, find, methods, table
from merging.network.batch_norm import reset_batch_norm
from merging.network.permutation import permute, with_tensors
from merging.pipeline.merge import merge
from merging.settings import NoSettings, read_settings, settings_dict
from tests.nets.pairs import NETS, blobs, make, problem, same, tensors_of, twin

ALL = [method for role in ROLES for method in table(role).values()]
ALIGNERS, COMBINERS, CORRECTORS = (list(table(role).values()) for role in ROLES)
KINDS = list(NETS)
QUICK = {"straight-through": {"steps": 20}, "sinkhorn": {"steps": 20}, "non-uniform": {"epochs": 1, "rate": 0.03}}


def ids(method: Method) -> str:
    return f"{method.role}:{method.key}"


def defaults(method: Method) -> object:
    return read_settings(method.settings, QUICK.get(method.key))


@pytest.mark.parametrize("method", ALL, ids=ids)
def test_it_says_what_it_is(method: Method) -> None:
    assert method.link.startswith("https://")
    assert method.run.__doc__
    for text in (method.label, method.paper, method.summary, method.limits):
        assert text
        assert text == text.strip()
    assert method.summary.endswith(".")
    assert method.limits.endswith(".")


@pytest.mark.parametrize("method", ALL, ids=ids)
def test_its_settings_survive_json_and_carry_their_bounds(method: Method) -> None:
    value = defaults(method)
    assert read_settings(method.settings, json.loads(json.dumps(settings_dict(value)))) == value
    for field in dataclasses.fields(method.settings):
        assert field.metadata["label"]
        assert field.metadata["help"].endswith(".")
        if isinstance(field.default, str):
            assert field.default in field.metadata["choices"]
        elif not isinstance(field.default, bool):
            assert field.metadata["low"] <= field.default <= field.metadata["high"]
            with pytest.raises(InvalidSetting, match=field.name):
                read_settings(method.settings, {field.name: type(field.default)(field.metadata["high"] * 2)})
    with pytest.raises(InvalidSetting, match="no setting 'nonsense'"):
        read_settings(method.settings, {"nonsense": 1})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ALIGNERS, ids=ids)
def test_aligning_a_net_with_itself_moves_nothing(method: Method, kind: str) -> None:
    net = make(kind, 0)
    found = method.run(problem(kind, (net, copy.deepcopy(net))), defaults(method))
    identity = problem(kind, (net, net)).spec.identity()
    assert all(torch.equal(p[group], identity[group]) for p in found.permutations for group in identity)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ALIGNERS, ids=ids)
def test_an_aligner_gives_permutations_and_notes_and_changes_nothing(method: Method, kind: str) -> None:
    given = problem(kind, (make(kind, 0), make(kind, 1)))
    before = [tensors_of(model) for model in given.models]
    found = method.run(given, defaults(method))
    assert all(same(old, tensors_of(model)) for old, model in zip(before, given.models, strict=True))
    assert len(found.permutations) == 2
    for group, size in given.spec.sizes.items():
        assert torch.equal(found.permutations[0][group], torch.arange(size))
        assert found.permutations[1][group].dtype == torch.int64
        assert found.permutations[1][group].sort().values.tolist() == list(range(size))
    assert json.loads(json.dumps(found.notes)) == found.notes
    images = given.data.images
    moved = permute(given.models[1].double(), given.spec, found.permutations[1])
    assert torch.allclose(moved(images.double()), given.models[1](images.double()), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [m for m in ALIGNERS if m.recovers_twin], ids=ids)
def test_an_aligner_that_promises_it_recovers_a_twin(method: Method, kind: str) -> None:
    net = make(kind, 2)
    other, back = twin(kind, net, 9)
    found = method.run(problem(kind, (net, other)), defaults(method)).permutations[1]
    assert all(torch.equal(found[group], back[group]) for group in back)


@pytest.mark.parametrize("method", COMBINERS, ids=ids)
def test_a_combination_keeps_the_ends_the_inputs_and_itself(method: Method) -> None:
    a, b, base = make("cnn", 0), make("cnn", 1), make("cnn", 2) if method.needs_base else None
    given, settings = problem("cnn", (a, b), base=base), defaults(method)
    before = [tensors_of(model) for model in given.models]
    combiner, again = (method.run(given, settings) for _ in range(2))
    if method.ends:
        assert same(dict(combiner((1.0, 0.0))), before[0])
        assert same(dict(combiner((0.0, 1.0))), before[1])
    middle = combiner((0.5, 0.5))
    assert same(dict(middle), dict(combiner((0.5, 0.5))))
    assert same(dict(middle), dict(again((0.5, 0.5))))
    assert json.loads(json.dumps(combiner.notes)) == combiner.notes
    assert all(same(old, tensors_of(model)) for old, model in zip(before, given.models, strict=True))
    for name, tensor in before[0].items():
        assert (middle[name].shape, middle[name].dtype) == (tensor.shape, tensor.dtype)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("method", COMBINERS, ids=ids)
def test_combining_a_net_with_itself_gives_that_net(method: Method, count: int) -> None:
    """Experts that learned nothing since their base merge into the base."""
    net = make("cnn", 0)
    if count > method.most_models:
        return
    base = net if method.needs_base else None
    given = problem("cnn", tuple(copy.deepcopy(net) for _ in range(count)), base=base)
    got = method.run(given, defaults(method))((1 / count,) * count)
    assert all(torch.allclose(tensor, tensors_of(net)[name], atol=1e-6) for name, tensor in got.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", CORRECTORS, ids=ids)
def test_a_correction_gives_a_plain_net_and_changes_nothing(method: Method, kind: str) -> None:
    given = problem(kind, (make(kind, 0), make(kind, 1)))
    net = middle(given)
    models = (net, *given.models)
    before = [tensors_of(model) for model in models]
    corrector = method.run(given, defaults(method))
    got, again = (corrector(net, (0.5, 0.5)) for _ in range(2))
    assert all(same(old, tensors_of(model)) for old, model in zip(before, models, strict=True))
    assert same(tensors_of(got), tensors_of(again))
    assert not any(module.training for module in got.modules())
    assert str(got) == str(net)
    assert list(got.state_dict()) == list(net.state_dict())
    assert json.loads(json.dumps(corrector.notes)) == corrector.notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", CORRECTORS, ids=ids)
def test_correcting_a_net_merged_with_itself_gives_that_net(method: Method, kind: str) -> None:
    data = problem(kind, (make(kind, 0),) * 2).data
    # whose BatchNorm statistics are those of the very images that the correction will see, as after training
    net = reset_batch_norm(make(kind, 0), correction_data(problem(kind, ()), 5000))
    got = method.run(problem(kind, (net, copy.deepcopy(net))), defaults(method))(net, (0.5, 0.5))
    assert torch.allclose(got(data.images), net(data.images), atol=1e-5)


ALIGNED = """
from merging.methods.registry import table
from tests.nets.pairs import make, problem
from tests.methods.test_methods import defaults
def found():
    given = problem("residual", (make("residual", 0), make("residual", 1)), seed=3)
    for method in table("align").values():
        got = method.run(given, defaults(method))
        yield method.key, str(({group: p.tolist() for group, p in got.permutations[1].items()}, got.notes))
"""


def test_an_aligner_is_a_function_of_its_seed_in_every_process() -> None:
    """Sets and hash(str) differ between processes: an order taken from them gives each its own result.

    So do the states of the global random numbers.
    """
    here: dict[str, Any] = {}
    exec(ALIGNED, here)
    random.seed(8)
    np.random.seed(8)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        expected = dict(here["found"]())
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    there = subprocess.run(
        [sys.executable, "-c", f"import json\n{ALIGNED}\nprint(json.dumps(dict(found())))"],
        env={**os.environ, "PYTHONHASHSEED": other},
        capture_output=True,
        check=True,
        text=True,
    )
    assert list(expected) == [method.key for method in ALIGNERS]
    assert json.loads(there.stdout) == expected


def test_reading_the_tables_loads_no_torch() -> None:
    code = (
        "import sys\nfrom merging import METHODS, RECIPES\nassert METHODS['align'] and RECIPES\n"
        "assert not {'torch', 'scipy', 'numpy'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_naive_comes_first_and_unknown_keys_are_answered_with_the_known() -> None:
    assert [next(iter(methods()[role])) for role in ("align", "correct")] == ["none", "none"]
    with pytest.raises(InvalidSetting, match="weight-matching"):
        find("align", "weightmatching")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_recipe_is_made_of_known_methods(recipe) -> None:
    for role in ROLES:
        chosen = find(role, getattr(recipe, role))
        read_settings(chosen.settings, recipe.settings.get(role))
    assert RECIPES[recipe.key] is recipe
    assert recipe.label
    assert recipe.paper
    assert recipe.link.startswith("https://")
    assert recipe.summary.endswith(".")


def middle(given: Problem) -> nn.Module:
    return with_tensors(given.models[0], average(given, NoSettings())((0.5, 0.5)))


TOGETHER = [
    (align, COMBINERS[at % len(COMBINERS)], CORRECTORS[at % len(CORRECTORS)]) for at, align in enumerate(ALIGNERS)
]  # every method at least once, three in each merge


def test_all_methods_are_in_the_merges_of_half_precision() -> None:
    assert {ids(method) for chosen in TOGETHER for method in chosen} == {ids(method) for method in ALL}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("chosen", TOGETHER, ids=lambda chosen: "-".join(method.key for method in chosen))
def test_half_precision_is_merged_in_half_precision(chosen: tuple[Method, ...], kind: torch.dtype) -> None:
    """Every method works on it, learners too, and gives finite weights of that precision."""
    a, b, base = (make("cnn", seed).to(kind) for seed in (0, 1, 2))
    keys = {method.role: method.key for method in chosen}
    settings = {method.role: QUICK.get(method.key, {}) for method in chosen}
    more = {"base": base} if any(method.needs_base for method in chosen) else {}
    merged = merge([a, b], data=blobs(300), settings=settings, **keys, **more).merged
    assert {p.dtype for p in merged.parameters()} == {kind}
    assert all(torch.isfinite(p).all() for p in merged.parameters())
