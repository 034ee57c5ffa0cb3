"""BatchNorm reset: the statistics of the merged net's own activations, from different batches, and nothing else."""

import dataclasses

import pytest
import torch
from torch import nn

from merging.errors import DataUnavailable
from merging.methods.correct.batch_norm_reset import BatchNormResetSettings, batch_norm_reset
from merging.network.batch_norm import batch_norm_in_training
from merging.network.data import Batches
from tests.nets.pairs import blobs, make, problem, same, tensors_of

HALF = (0.5, 0.5)


def reset(model: nn.Module, data: Batches, images: int = 300) -> nn.Module:
    task = dataclasses.replace(problem("cnn", (model, model)), data=data)
    return batch_norm_reset(task, BatchNormResetSettings(images=images))(model, HALF)


def test_the_statistics_are_those_of_all_the_images() -> None:
    model, data = make("cnn", 0), blobs(300)
    norm = reset(model, data)[3]
    with torch.no_grad():
        rows = model[:3](data.images).movedim(1, -1).flatten(0, -2)
    assert torch.allclose(norm.running_mean, rows.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, rows.var(0), rtol=1e-3)


def test_data_sorted_by_class_give_the_statistics_of_all_classes() -> None:
    """A batch of one class varies less than the data; the batches are drawn from all of it."""
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Conv2d(1, 6, 8), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 5)).eval().requires_grad_(False)
    )
    data = blobs(1000, size=200)
    everything = net[0](data.images).movedim(1, -1).flatten(0, -2).var(0)
    one_class = torch.stack([net[0](x).movedim(1, -1).flatten(0, -2).var(0) for x, _ in data]).mean(0)
    task = dataclasses.replace(problem("cnn", (net, net)), data=data)
    got = batch_norm_reset(task, BatchNormResetSettings())(net, HALF)[1].running_var
    assert float((one_class / everything).min()) < 0.8
    assert torch.allclose(got, everything, rtol=0.02)


def test_every_batch_is_another_one() -> None:
    seen: list[torch.Tensor] = []
    model = make("cnn", 0)
    data = blobs(300)
    with_hook = make("cnn", 0)
    with_hook[0].register_forward_hook(lambda m, args, output: seen.append(args[0].clone()))
    got = reset(with_hook, data)
    images = torch.cat(seen).flatten(1)
    assert len(torch.unique(images, dim=0)) == 300
    assert int(got[3].num_batches_tracked) == 3
    assert int(model[3].num_batches_tracked) == 0


def test_only_batch_norm_changes_and_the_input_does_not() -> None:
    model = make("cnn", 0)
    before = tensors_of(model)
    got = reset(model, blobs(300))
    assert same(before, tensors_of(model))
    changed = {name for name, t in got.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"3.running_mean", "3.running_var", "3.num_batches_tracked"}
    assert not any(module.training for module in got.modules())
    assert got[3].momentum == model[3].momentum


def test_dropout_stays_off_while_batch_norm_is_on() -> None:
    model = make("cnn", 0)
    with batch_norm_in_training(model, ["3"]):
        training = {type(module).__name__ for module in model.modules() if module.training}
    assert training == {"BatchNorm2d"}


def test_a_smaller_last_batch_is_left_out() -> None:
    got = reset(make("cnn", 0), blobs(301))
    assert int(got[3].num_batches_tracked) == 3


def test_without_batch_norm_it_returns_the_net_and_says_why() -> None:
    model = make("mlp", 0)
    corrector = batch_norm_reset(problem("mlp", (model, model)), BatchNormResetSettings())
    assert corrector(model, HALF) is model
    assert "no BatchNorm" in corrector.notes["reason"]


def test_one_image_a_batch_is_refused() -> None:
    with pytest.raises(DataUnavailable, match="at least 2 images"):
        reset(make("cnn", 0), blobs(300).sized(1))
