"""The corpus at the door: each form of checkpoint loads to the original's outputs, is a question, or is refused."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.errors import AmbiguousCheckpoint, InvalidRequest, MergescopeError, UnknownArchitecture
from merging.jobs.requests.checks import check_class_order
from merging.zoo.architectures import build
from merging.zoo.checkpoints.candidates import shared_normalisation
from merging.zoo.checkpoints.checkpoint import Checkpoint, from_file, load_bytes, load_checkpoint
from merging.zoo.checkpoints.metadata import unwrapped_name
from merging.zoo.checkpoints.own import _check_numbers, build_own
from merging.zoo.checkpoints.reading.files import read_file
from tests.zoo.forms import CORPUS, OWN, Form, trained_looking, widget

FORMS: dict[str, Form] = dict(chain.from_iterable(maker().items() for maker in CORPUS.values()))


def difference(form: Form, checkpoint: Checkpoint) -> float:
    """max |f(x) - g(x)| relative to the largest |f(x)|."""
    images = torch.rand(3, *form.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = form.net.eval()(images), checkpoint.build()(images)
    return float((wanted - got).abs().max() / wanted.abs().max())


def load(form: Form) -> Checkpoint:
    return from_file(read_file(form.data), "", **form.asked)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if not form.refusal and not form.question])
def test_it_loads_to_the_outputs_of_the_original(name):
    assert difference(FORMS[name], load(FORMS[name])) <= 1e-6


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.refusal])
def test_it_is_refused_by_the_real_reason(name):
    with pytest.raises(MergescopeError, match=FORMS[name].refusal) as refusal:
        load(FORMS[name])
    assert not isinstance(refusal.value, AmbiguousCheckpoint)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.question])
def test_it_is_a_question_with_the_right_network_among_its_candidates(name):
    form = FORMS[name]
    file = read_file(form.data)
    with pytest.raises(AmbiguousCheckpoint) as question:
        from_file(file, "", **form.asked)
    choices = [one for candidate in question.value.candidates for one in candidate.choices]
    right = 0
    for choice in choices:
        if choice.architecture == form.question:
            picked = {"architecture": choice.architecture, "config": choice.config, "weights": choice.weights}
            right += difference(form, from_file(file, "", **picked)) <= 1e-6
    assert right == 1


def test_the_corpus_is_as_large_as_it_claims():
    assert len(FORMS) >= 80
    assert sum(not form.refusal and not form.question for form in FORMS.values()) >= 55


NETS = [
    ("mlp", {"widths": [5, 5]}, (1, 28, 28)),
    ("cnn", {"widths": [4, 4, 4]}, (1, 28, 28)),
    ("cnn", {"widths": [4, 4, 6], "norm": "batch"}, (1, 28, 28)),
    ("resnet", {"widths": [4, 8], "blocks": [1, 1]}, (1, 28, 28)),
    ("resnet20", {"width": 4}, (3, 32, 32)),
    ("vgg11_bn", {}, (3, 32, 32)),
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NETS), st.integers(0, 10**6), st.booleans())
def test_under_random_names_nothing_is_silently_wrong(net, seed, as_modules):
    """All tensors, or all modules, get random names: a question or a refusal, and never a network."""
    architecture, config, _ = net
    state = build(architecture, config).state_dict()
    draw = random.Random(seed)

    def word(_: str) -> str:
        return "".join(draw.choices(string.ascii_lowercase + string.digits, k=6))

    homes = {key.rpartition(".")[0]: word(key) for key in state}
    names = {
        key: f"{homes[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" if as_modules else word(key) for key in state
    }
    with pytest.raises(UnknownArchitecture):
        load_bytes(safetensors.torch.save({names[key]: value for key, value in state.items()}))


@pytest.mark.parametrize(("architecture", "config", "shape"), NETS)
def test_a_named_network_under_random_module_names_is_right_or_refused(architecture, config, shape):
    net = trained_looking(build(architecture, config))
    state = net.state_dict()
    for seed in range(20):
        draw = random.Random(seed)
        homes = {key.rpartition(".")[0]: "".join(draw.choices(string.ascii_lowercase, k=6)) for key in state}
        names = {key: f"{homes[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in state}
        form = Form(safetensors.torch.save({names[key]: value for key, value in state.items()}), net, shape)
        try:
            checkpoint = load_bytes(form.data, architecture=architecture)
        except UnknownArchitecture:
            continue
        assert difference(form, checkpoint) <= 1e-6


def test_images_decide_where_one_network_is_clearly_right(tmp_path):
    """A residual net as a public file: with its images it is known; without them it is a question."""
    path = "assets/zoo/fashion-resnet-s0.safetensors"
    original = load_checkpoint(path)
    (tmp_path / "a.safetensors").write_bytes(safetensors.torch.save({f"net.{k}": v for k, v in original.state.items()}))
    with pytest.raises(AmbiguousCheckpoint) as question:
        load_checkpoint(tmp_path / "a.safetensors", config={"global_pool": "avg"}, data="fashion-mnist")
    best, second = question.value.candidates[:2]
    assert {best.config.get("nonlinearity", "relu"), second.config.get("nonlinearity", "relu")} == {
        "relu",
        "leaky_relu",
    }
    assert best.accuracy > 0.9
    asked = {"config": {"nonlinearity": "relu", "global_pool": "avg"}, "data": "fashion-mnist"}
    decided = load_checkpoint(tmp_path / "a.safetensors", **asked)
    assert decided.architecture == "resnet"
    assert "clearly better than the 2 others" in decided.why or "the only one of 3 above chance" in decided.why
    assert decided.mean == original.mean, "measured: the data set's, and not 0 and 1"


def test_what_is_written_loads_strictly_into_the_persons_own_module():
    form = FORMS["own, tied once"]
    checkpoint = load(form)
    written = safetensors.torch.load(checkpoint.to_bytes())
    form.net.load_state_dict(written)
    again = load_bytes(checkpoint.to_bytes(), **form.asked)
    assert difference(form, again) == 0


def test_a_file_that_unties_what_the_factory_ties_or_holds_other_numbers_is_refused():
    whole = widget().state_dict()
    for name, value, said in (
        ("head.weight", whole["head.weight"] + 1, "ties head.weight to model.3.weight"),
        ("model.1.weight", (100 * whole["model.1.weight"]).to(torch.int8), "holds integers, but .* floating-point"),
        ("model.1.bias", whole["model.1.bias"].to(torch.complex64), "holds complex numbers"),
        ("index", whole["index"].bool(), "holds booleans, but .* integers"),
    ):
        state = {key: tensor.clone() for key, tensor in whole.items()} | {name: value}
        with pytest.raises(UnknownArchitecture, match=said):
            load_bytes(safetensors.torch.save(state), **OWN)
    assert load_bytes(safetensors.torch.save({k: v.clone() for k, v in whole.items()}), **OWN).build()


def test_a_mask_as_it_was_stored_before_torch_had_booleans_is_one():
    expected = {"mask": torch.ones(2, dtype=torch.bool)}
    _check_numbers({"mask": torch.tensor([0, 1], dtype=torch.uint8)}, expected, {}, "x")
    with pytest.raises(UnknownArchitecture, match="holds integers, but x has booleans"):
        _check_numbers({"mask": torch.tensor([0, 2], dtype=torch.uint8)}, expected, {}, "x")


def test_a_network_that_names_the_classes_in_another_order_is_measured_by_their_names_and_not_merged(tmp_path):
    """Its accuracy on labels that mean other outputs would be a plausible wrong number."""
    original = load_checkpoint("fashion-mlp-128-s0")
    order = [6, *range(1, 6), 0, 7, 8, 9]
    last = {name: original.state[name][order] for name in ("layers.6.weight", "layers.6.bias")}
    classes = tuple(original.classes[number] for number in order)
    moved = replace(original, state={**original.state, **last}, classes=classes)
    (tmp_path / "moved.safetensors").write_bytes(moved.to_bytes())
    (tmp_path / "still.safetensors").write_bytes(original.to_bytes())
    measured = [
        load_checkpoint(tmp_path / f"{name}.safetensors", data="fashion-mnist").measured[0]
        for name in ("moved", "still")
    ]
    assert measured[0].accuracy == measured[1].accuracy > 0.85
    with pytest.raises(InvalidRequest, match="has the class Shirt at output 0, but in Fashion-MNIST its label is 6"):
        check_class_order("fashion-mnist", moved.classes, moved.name)
    for known in (original.classes, (), ("a", "b"), original.classes[:3]):
        check_class_order("fashion-mnist", known, "A")


def test_a_network_of_ones_own_is_normalised_where_that_is_stated():
    form = FORMS["own, plain"]
    images = torch.rand(2, *form.shape)
    checkpoint = load_bytes(safetensors.torch.save({k: v.clone() for k, v in load(form).state.items()}), **form.asked)
    module = build_own(checkpoint.architecture, checkpoint.config, checkpoint.state, (0.5,), (0.25,))
    assert torch.allclose(module(images), form.net((images - 0.5) / 0.25), atol=1e-5)
    assert module.state_dict().keys() == form.net.state_dict().keys()


@pytest.mark.parametrize("name", ["residual, own names", "residual, prefix net.", "resnet20, DataParallel"])
def test_a_known_network_is_written_under_the_persons_own_names(name):
    form = FORMS[name]
    state = next(iter(read_file(form.data).networks.values())).state
    own = {unwrapped_name(key): value for key, value in state.items()}
    checkpoint = from_file(read_file(form.data), "", architecture="resnet20")
    written = safetensors.torch.load(checkpoint.to_bytes())
    assert written.keys() == own.keys()
    assert all(torch.equal(written[key], value) for key, value in own.items())
    again = load_bytes(checkpoint.to_bytes())
    assert difference(form, again) <= 1e-6
    assert again.to_bytes() == checkpoint.to_bytes()


def test_files_that_state_different_numbers_share_no_normalisation() -> None:
    def stated(mean: float) -> list[dict[str, Any]]:
        told = {"normalisation": "the stated mean and std", "accuracy": 0.9, "above_chance": True}
        return [{**told, "mean": [mean], "std": [1.0]}]

    assert shared_normalisation([stated(0.5), stated(0.3)]) is None
    assert shared_normalisation([stated(0.5), stated(0.5)]) == "the stated mean and std"
