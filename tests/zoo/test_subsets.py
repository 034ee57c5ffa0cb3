"""Parts of a data set: which classes and images are kept, renumbered and transformed."""

import numpy as np
import pytest

from merging.errors import InvalidSetting
from merging.zoo.datasets.load import ImageSet
from merging.zoo.training.subsets import TRANSFORMS, chosen_images

LABELS = np.arange(40) % 4
IMAGES = ImageSet(
    "fashion-mnist",
    "train",
    np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8),
    LABELS.astype(np.int64),
    ("a", "b", "c", "d"),
    True,
)
ALL, NONE = (0.0, 1.0), (0.0, 0.0)


def test_all_is_all():
    assert chosen_images(IMAGES, None, "none", 4, learn=True) is IMAGES


def test_classes_that_are_left_out_are_gone_and_others_keep_their_numbers():
    kept = chosen_images(IMAGES, [ALL, NONE, ALL, NONE], "none", 4, learn=True)
    assert sorted(set(kept.labels)) == [0, 2]
    assert len(kept) == 20
    assert kept.classes == IMAGES.classes
    assert np.array_equal(kept.images, IMAGES.images[(LABELS == 0) | (LABELS == 2)])


def test_a_head_for_the_classes_seen_numbers_them_anew():
    kept = chosen_images(IMAGES, [NONE, ALL, NONE, ALL], "none", 2, learn=True)
    assert (kept.classes, sorted(set(kept.labels))) == (("b", "d"), [0, 1])
    assert np.array_equal(kept.labels, (LABELS[(LABELS == 1) | (LABELS == 3)] == 3).astype(int))


def test_two_spans_share_the_training_images_between_them_and_both_are_tested_on_all():
    a = chosen_images(IMAGES, [(0, 0.8)] * 4, "none", 4, learn=True)
    b = chosen_images(IMAGES, [(0.8, 1)] * 4, "none", 4, learn=True)
    assert (len(a), len(b)) == (32, 8)
    together = {image.tobytes() for image in (*a.images, *b.images)}
    assert together == {image.tobytes() for image in IMAGES.images}
    assert len(chosen_images(IMAGES, [(0, 0.8)] * 4, "none", 4, learn=False)) == 40


def test_transforms_change_every_image_and_can_be_undone():
    inverted = chosen_images(IMAGES, None, "invert", 4, learn=True)
    assert np.array_equal(255 - inverted.images, IMAGES.images)
    turned = IMAGES.images
    for _ in range(4):
        turned = TRANSFORMS["rotate"](turned)
    assert np.array_equal(turned, IMAGES.images)
    assert not np.array_equal(TRANSFORMS["rotate"](IMAGES.images), IMAGES.images)


def test_spans_that_cannot_be_are_refused():
    with pytest.raises(InvalidSetting, match="spans has 2 entries"):
        chosen_images(IMAGES, [ALL, ALL], "none", 4, learn=True)
    with pytest.raises(InvalidSetting, match="leave out every class"):
        chosen_images(IMAGES, [NONE] * 4, "none", 4, learn=True)
