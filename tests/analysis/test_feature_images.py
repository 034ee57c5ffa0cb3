"""A picture is a function of its own unit alone, repeats byte for byte, and leaves the network as it is."""

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.pictures.render import feature_images, render
from merging.analysis.pictures.settings import PictureSettings, first_spectrum
from merging.errors import (
    Cancelled,
    InvalidRequest,
    InvalidSetting,
    MergescopeError,
    UnknownLayer,
    UnsupportedOperation,
)
from merging.network.graph.graph import Graph, export
from merging.network.permutation import named_tensors, permute
from merging.results.reports import UnitPicture
from tests.nets.pairs import SHAPE, make, structure, tensors_of, trained

QUICK = PictureSettings(steps=24)
OTHER_PROCESS = """
import hashlib, torch
from merging import feature_images
from tests.nets.pairs import make
torch.set_num_threads(1)
found = feature_images(make("cnn", 0), "2", [3, 1], input_shape=(1, 8, 8), steps=24, seed=5)
print(hashlib.sha256(found.tobytes()).hexdigest())
"""


def pictures(
    model: nn.Module, layer: str, units, shape=SHAPE, settings=QUICK, **more: object
) -> tuple[UnitPicture, ...]:
    """Of any small net, exported afresh."""
    graph = export(model.eval(), torch.zeros(1, *shape))
    return render(graph, named_tensors(model), layer, units, input_shape=shape, settings=settings, **more)


def same(a: UnitPicture, b: UnitPicture) -> bool:
    """Bit for bit."""
    return a.pixels.tobytes() == b.pixels.tobytes() and (a.objective, a.start) == (b.objective, b.start)


def seeded(seed: int, *layers) -> nn.Module:
    """A net of layers given as functions, drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*(layer() for layer in layers)).eval()


def colour_net(channels: int, units: int = 18) -> nn.Module:
    return seeded(
        3, lambda: nn.Conv2d(channels, 7, 3, padding=1), lambda: nn.ReLU(inplace=True),
        lambda: nn.Conv2d(7, units, 3), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten,
        lambda: nn.Linear(units, units),
    )  # fmt: skip


def test_a_seed_repeats_in_this_and_in_another_process() -> None:
    model = make("cnn", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        made_there = make("cnn", 0)
    first, again, other = (
        feature_images(net, "2", [3, 1], input_shape=SHAPE, steps=24, seed=seed)
        for net, seed in ((model, 5), (made_there, 5), (model, 6))
    )
    torch.set_num_threads(threads)
    assert first.shape == (2, 8, 8, 1)
    assert first.dtype == np.float32
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.05
    elsewhere = subprocess.run([sys.executable, "-c", OTHER_PROCESS], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == hashlib.sha256(first.tobytes()).hexdigest()


@pytest.mark.parametrize("layer", ["0", "2", "3", "6"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 12), (5, 9, 7)])
def test_a_picture_does_not_depend_on_its_companions(shape: tuple[int, int, int], layer: str) -> None:
    model = colour_net(shape[0])
    graph, tensors = export(model, torch.zeros(1, *shape)), named_tensors(model)

    def of(units):
        return render(graph, tensors, layer, units, input_shape=shape, settings=PictureSettings(steps=6))

    (alone,) = of([4])
    full = of([5, 0, 6, 1, 2, 3] * 2 + [0, 1, 2, 4, 4, 5])  # 18: the second pass begins with unit 4 at place 0
    assert all(picture.pixels.shape == (*shape[1:], shape[0]) for picture in full)
    assert same(alone, full[15])
    assert same(alone, full[16])
    assert same(full[1], full[12])
    assert same(full[1], of([0])[0])
    assert not same(full[0], full[1])


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_a_permuted_net_has_the_same_pictures_in_another_order(kind: str) -> None:
    graph, spec = structure(kind)
    model = make(kind, 1).double()
    shuffled = spec.random(2)
    settings = PictureSettings(steps=64)
    for group in spec.groups[:2]:
        site, p = group.nodes[-1], shuffled[group.name][:8]
        before = render(graph, named_tensors(model), site.layer, p.tolist(), input_shape=SHAPE, settings=settings)
        other = named_tensors(permute(model, spec, shuffled))
        after = render(graph, other, site.layer, range(8), input_shape=SHAPE, settings=settings)
        for a, b in zip(before, after, strict=True):
            assert np.median(np.abs(a.pixels - b.pixels)) <= 1e-6
            assert np.corrcoef(a.pixels.ravel(), b.pixels.ravel())[0, 1] >= 0.98
            assert b.objective == pytest.approx(a.objective, rel=1e-4, abs=1e-9)
        assert not np.allclose(before[0].pixels, before[1].pixels, atol=0.05)


@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_the_scale_of_a_unit_does_not_change_its_picture(kind: str) -> None:
    model, small = trained(kind, 0), make(kind, 0)
    small.load_state_dict(model.state_dict())
    with torch.no_grad():
        small[-1].weight.mul_(1e-3)
        small[-1].bias.mul_(1e-3)
    last = str(len(model) - 1)
    for a, b in zip(
        *(pictures(net, last, range(5), settings=PictureSettings()) for net in (model, small)), strict=True
    ):
        assert np.corrcoef(a.pixels.ravel(), b.pixels.ravel())[0, 1] >= 0.99
        assert b.objective == pytest.approx(a.objective * 1e-3, rel=0.01)


def test_network_and_random_numbers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("cnn", 0).train()
    model[0].weight.grad = torch.full_like(model[0].weight, 7.0)
    model[2].bias.requires_grad_(False)
    before, seen, run = tensors_of(model), set(), Graph.run
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    modes = [module.training for module in model.modules()]

    def watched(self, tensors, x, *args, **kwargs):
        seen.add((tuple(x.shape), any(tensor.requires_grad for tensor in tensors.values())))
        return run(self, tensors, x, *args, **kwargs)

    monkeypatch.setattr(Graph, "run", watched)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    states = [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]
    with torch.no_grad():
        first = feature_images(model, "8", [0, 1], input_shape=SHAPE, steps=4)
    assert states == [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]
    torch.manual_seed(2)
    np.random.seed(2)
    assert first.tobytes() == feature_images(model, "8", [0, 1], input_shape=SHAPE, steps=4).tobytes()
    assert seen == {((16, *SHAPE), False)}  # never resized, always 16, no gradient for any weight
    assert [(p.requires_grad, p.grad) for p in model.parameters()] == flags
    assert bool((model[0].weight.grad == 7).all())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(module, kind) for module in model.modules() for kind in hooks)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_a_picture_excites_its_own_unit_more_than_noise_and_other_pictures_do(kind: str) -> None:
    model = trained(kind, 0)
    found = pictures(model, structure(kind)[0].layers[-1].name, range(5))
    assert all(picture.objective > picture.start + 1 for picture in found)
    seen = torch.from_numpy(np.stack([picture.pixels for picture in found])).permute(0, 3, 1, 2)
    assert model(seen).argmax(0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_objective_is_the_layers_own_value_at_the_picture(channels: int) -> None:
    model, shape = colour_net(channels), (channels, 10, 12)
    for layer, head in [("0", model[:1]), ("1", model[:2]), ("2", model[:3]), ("6", model)]:
        for objective in ("channel", "neuron"):
            for unit, picture in enumerate(
                pictures(model, layer, range(3), shape, PictureSettings(8, objective=objective))
            ):
                value = head(torch.from_numpy(picture.pixels).permute(2, 0, 1)[None]).detach()[0, unit]
                if value.ndim:
                    rows, columns = value.shape
                    value = value.mean() if objective == "channel" else value[rows // 2, columns // 2]
                assert picture.objective == pytest.approx(float(value), abs=1e-5)
                assert picture.how["objective"] == objective
                assert (picture.how["layer"], picture.how["unit"], picture.how["steps"]) == (layer, unit, 8)
                assert (picture.pixels >= 0).all()
                assert (picture.pixels <= 1).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 10), (3, 9, 7), (4, 6, 6)])
def test_a_dead_unit_keeps_the_start_picture_which_is_lucents_of_these_numbers(shape: tuple[int, int, int]) -> None:
    from lucent.optvis.param import fft_image, to_valid_rgb

    model = colour_net(shape[0])
    with torch.no_grad():
        model[2].weight[4] = 0
        model[2].bias[4] = 0
    dead, live = pictures(model, "2", [4, 0], shape, seed=9, settings=PictureSettings(32, decay=1.0))
    assert dead.objective == dead.start == 0
    assert live.objective > live.start
    with torch.random.fork_rng():
        (spectrum,), image = fft_image((1, *shape))
    with torch.no_grad():
        spectrum.copy_(torch.from_numpy(first_spectrum(9, tuple(spectrum.shape))))
        theirs = to_valid_rgb(image, decorrelate=shape[0] == 3)()[0].permute(1, 2, 0).cpu().numpy()
    np.testing.assert_allclose(dead.pixels, theirs, atol=1e-6)


@pytest.mark.parametrize("objective", ["neuron", "channel"])
@pytest.mark.parametrize("layer", ["1", "2"])
def test_a_unit_that_is_silent_at_the_start_is_found_through_its_activation(layer: str, objective: str) -> None:
    model = seeded(0, lambda: nn.Conv2d(1, 6, 3), nn.ReLU, lambda: nn.MaxPool2d(2))
    with torch.no_grad():
        model[0].bias.copy_(-0.5 * model[0].weight.sum((1, 2, 3)) - 0.2)  # below 0 on a grey image
    still = PictureSettings(128, 0.04, objective, decay=1.0, scale=0.0, rotation=0.0)
    for picture in pictures(model, layer, range(6), settings=still):
        assert picture.start == 0
        # The picture moves in every step, so its strongest position need not be the centre.
        assert (picture.objective if objective == "channel" else picture.response) > 0.01


def test_the_response_is_that_of_the_strongest_position_after_the_nonlinearity() -> None:
    model = colour_net(3)
    for layer, after in (("0", 2), ("1", 2), ("2", 3), ("3", 4)):
        for unit, picture in enumerate(pictures(model, layer, range(3), (3, 8, 8), QUICK)):
            value = model[:after](torch.from_numpy(picture.pixels).permute(2, 0, 1)[None]).detach()
            assert picture.response == pytest.approx(float(value[0, unit].max()), rel=1e-5, abs=1e-6), layer


def test_progress_and_passes() -> None:
    told, batches = [], []
    model = colour_net(1)
    found = pictures(
        model, "2", range(18), settings=PictureSettings(20), report=lambda *a: told.append(a), on_batch=batches.append
    )
    assert [len(batch) for batch in batches] == [16, 2]
    assert tuple(picture for batch in batches for picture in batch) == found
    assert [picture.how["unit"] for picture in found] == list(range(18))
    assert told == [
        ("rendering", 0.0, "units 1-16 of 18, step 0 of 20"),
        ("rendering", 0.4, "units 1-16 of 18, step 16 of 20"),
        ("rendering", 0.5, "units 17-18 of 18, step 0 of 20"),
        ("rendering", 0.9, "units 17-18 of 18, step 16 of 20"),
    ]
    assert pictures(model, "2", []) == ()
    assert feature_images(model, "2", [], input_shape=SHAPE).shape == (0, 8, 8, 1)


def test_a_cancelled_rendering_stops_at_the_next_report() -> None:
    told = []

    def report(stage: str, fraction: float, message: str) -> None:
        told.append(message)
        if len(told) == 3:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        feature_images(make("mlp", 0), "1", [0], input_shape=SHAPE, report=report)
    assert told[-1] == "units 1-1 of 1, step 32 of 256"


def test_what_does_not_exist_is_refused_in_words() -> None:
    model = make("cnn", 0)
    with pytest.raises(UnknownLayer, match=r"no layer 'conv7'. Similar names: "):
        feature_images(model, "conv7", [0], input_shape=SHAPE)
    for unit in (12, -1):
        with pytest.raises(UnknownLayer, match=f"0 has no unit {unit}: its units are 0 to 11"):
            feature_images(model, "0", [0, unit], input_shape=SHAPE)
    with pytest.raises(InvalidRequest, match=r"\(channels, height, width\), not \(8, 8\)"):
        feature_images(model, "0", [0], input_shape=(8, 8))
    with pytest.raises(UnsupportedOperation, match="does not run on images of shape"):
        feature_images(model, "0", [0], input_shape=(3, 8, 8))
    with pytest.raises(InvalidSetting, match="objective is 'logit'"):
        feature_images(model, "0", [0], input_shape=SHAPE, objective="logit")
    with pytest.raises(InvalidRequest, match="reads images of 1 x 8 x 8, not of 3 x 8 x 8"):
        render(structure("cnn")[0], named_tensors(model), "0", [0], input_shape=(3, 8, 8))
    with torch.no_grad():
        model[2].bias[1] = float("nan")
    with pytest.raises(MergescopeError, match="The output of 2 is NaN or infinite"):
        feature_images(model, "2", [0, 1], input_shape=SHAPE, steps=2)


def test_turning_and_zooming_keep_the_pictures_size() -> None:
    model = colour_net(3)
    found = pictures(model, "6", [0], (3, 8, 8), PictureSettings(24, scale=0.2, rotation=20.0))
    assert found[0].objective > found[0].start
    assert found[0].pixels.shape == (8, 8, 3)
