"""Batches are the same on every pass, and what cannot be used is refused in words."""

import numpy as np
import pytest
import torch

from merging.errors import DataUnavailable, InvalidRequest
from merging.network.data import Batches, as_batches

IMAGES = torch.arange(7 * 4, dtype=torch.float32).view(7, 1, 2, 2) / 28
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2])


def joined(batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_two_passes_give_the_same_batches() -> None:
    batches = Batches(IMAGES, LABELS, size=3)
    assert [len(y) for _, y in batches] == [3, 3, 1] and len(batches) == 3
    for _ in range(2):
        images, labels = joined(batches)
        assert torch.equal(images, IMAGES) and torch.equal(labels, LABELS)


def test_bytes_stay_bytes_and_come_out_between_0_and_1() -> None:
    images = torch.tensor([[[[0, 255]]], [[[51, 102]]]], dtype=torch.uint8)
    batches = as_batches((images, np.array([3, 4])))
    assert batches.images.dtype == torch.uint8
    out, labels = joined(batches)
    assert out.dtype == torch.float32 and labels.tolist() == [3, 4]
    assert torch.equal(out.flatten(), torch.tensor([0.0, 1.0, 0.2, 0.4]))


def test_a_generator_is_read_once_and_kept() -> None:
    batches = as_batches(((IMAGES[i : i + 2], LABELS[i : i + 2]) for i in range(0, 7, 2)), size=4)
    assert torch.equal(joined(batches)[0], IMAGES) and torch.equal(joined(batches)[1], LABELS)


def test_a_shuffling_loader_is_frozen() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, LABELS), batch_size=2, shuffle=True)
    batches = as_batches(loader)
    assert torch.equal(joined(batches)[0], joined(batches)[0])
    assert sorted(joined(batches)[0][:, 0, 0, 0].tolist()) == IMAGES[:, 0, 0, 0].tolist()


def test_a_sample_is_a_function_of_the_seed_and_has_no_image_twice() -> None:
    batches = Batches(IMAGES, LABELS, size=3)
    drawn = joined(batches.sample(5, seed=1))[0]
    assert torch.equal(drawn, joined(batches.sample(5, seed=1))[0])
    assert not torch.equal(drawn, joined(batches.sample(5, seed=2))[0])
    assert len({float(x) for x in drawn[:, 0, 0, 1]}) == 5
    twice = joined(batches.sample(5, seed=1).sample(3, seed=0))[0]
    assert {float(x) for x in twice[:, 0, 0, 1]} < {float(x) for x in drawn[:, 0, 0, 1]}


def test_even_drops_only_a_smaller_last_batch() -> None:
    assert [len(y) for _, y in Batches(IMAGES, LABELS, size=3).even()] == [3, 3]
    assert [len(y) for _, y in Batches(IMAGES, LABELS, size=50).even()] == [7]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "no batches"),
        ((IMAGES[:0], LABELS[:0]), "no images"),
        ([IMAGES], "without labels"),
        ([(IMAGES,)], "without labels"),
        ((IMAGES, LABELS[:3]), "7 images"),
        ([(IMAGES, LABELS[:3])], "7 images and 3 labels"),
        ((IMAGES * float("nan"), LABELS), "NaN"),
        ((IMAGES, LABELS.float()), "class numbers"),
        ([(IMAGES, LABELS), (IMAGES[:, :, :1], LABELS)], "different shapes"),
    ],
)
def test_unusable_data_is_refused(data: object, words: str) -> None:
    with pytest.raises(DataUnavailable, match=words):
        as_batches(data)


@pytest.mark.parametrize("data", [3, "mnist", {"images": IMAGES}, IMAGES])
def test_other_things_are_not_data(data: object) -> None:
    with pytest.raises(InvalidRequest, match=r"\(images, labels\)"):
        as_batches(data)
