"""Images of one's own, read right: one id for the same images, exact statistics, honest splits, true colours."""

from __future__ import annotations

import io
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import merging
from merging.errors import DataUnavailable, InvalidSetting
from merging.network.data import as_batches
from merging.zoo.datasets.convert import convert_images, read_size
from merging.zoo.datasets.image_set import SPLITS
from merging.zoo.datasets.own import own_images, with_folder
from tests.zoo.image_files import NAMES, by_class, drawn, folder, png, reading, two_classes, zipped

fresh = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("own")


def new(place: Path) -> Path:
    """A path that does not exist yet."""
    return place / f"place{next(fresh)}"


def arrays(dataset, place: Path, split: str):
    return np.load(place / f"{split}-images.npy"), np.load(place / f"{split}-labels.npy")


@given(seed=st.integers(0, 99), classes=st.integers(2, 4), channels=st.sampled_from((1, 3)), split=st.booleans())
def test_the_same_images_in_a_folder_a_zip_and_an_npz_are_one_data_set(place, seed, classes, channels, split):
    """Whatever the files are called and in whatever order an array has them."""
    images = drawn(seed, 12, channels=channels)
    labels = np.arange(12) % classes
    files = by_class(images[:8], labels[:8], "train") | by_class(images[8:], labels[8:], "test")
    if not split:
        files = by_class(images, labels)
    shuffled = dict(sorted(((name.replace(".png", f"-{seed}.PNG"), data) for name, data in files.items()), key=hash))
    order = np.random.default_rng(seed).permutation(8 if split else 12)
    given_arrays = {"images": images[order], "labels": labels[order], "classes": np.array(NAMES[:classes])}
    if split:
        given_arrays |= {"test_images": images[8:], "test_labels": labels[8:]}
    npz = new(place).with_suffix(".npz")
    np.savez_compressed(npz, **given_arrays)
    sources = (folder(new(place), files), zipped(new(place), {f"birds/{n}": d for n, d in shuffled.items()}), npz)
    datasets = [reading(source, new(place)) for source in sources]
    assert len({(one.id, tuple(one.sha256.values()), one.facts.mean, one.facts.std) for one in datasets}) == 1
    assert datasets[0].facts.classes == NAMES[:classes] and datasets[0].facts.shape == (channels, 4, 5)


@pytest.mark.parametrize("change", ["pixel", "label", "class", "split", "channels"])
def test_other_content_is_another_data_set(place, change):
    images, labels = drawn(1), np.arange(12) % 2
    split, names, order = ["train"] * 8 + ["test"] * 4, ["ant", "bee"], {}
    usual = saved(place, images, labels, split, names)
    if change == "pixel":
        images = images.copy()
        images[3, 2, 2, 1] ^= 1
    if change == "label":
        labels = labels ^ (np.arange(12) == 3)
    if change == "class":
        names = ["ant", "fly"]
    if change == "split":
        split = ["train"] * 7 + ["test"] * 5
    if change == "channels":
        order = {"colour": "grey"}
    assert reading(usual, new(place)).id != reading(saved(place, images, labels, split, names), new(place), **order).id


def saved(place, images, labels, split, names) -> Path:
    path, split = new(place).with_suffix(".npz"), np.array(split)
    given_arrays = {
        f"{one}_{kind}": values[split == one]
        for one in SPLITS
        for kind, values in (("images", images), ("labels", labels))
    }
    np.savez(path, **given_arrays, classes=np.array(names))
    return path


def test_statistics_are_those_of_the_training_images_and_hashes_those_of_what_is_written(place):
    images, labels = drawn(2, 20), np.arange(20) % 2
    source, into = saved(place, images, labels, ["train"] * 15 + ["test"] * 5, ["ant", "bee"]), new(place)
    dataset = reading(source, into)
    assert dataset.facts.mean == pytest.approx((images[:15] / 255).mean((0, 1, 2)), abs=1e-6)
    assert dataset.facts.std == pytest.approx((images[:15] / 255).std((0, 1, 2)), abs=1e-6)
    assert dataset.counts == {"train": (8, 7), "test": (2, 3)}
    into.rename(place / dataset.id)
    with with_folder(place):
        for split, given_images in zip(SPLITS, (images[:15], images[15:]), strict=True):
            one = own_images(dataset.id, split)
            assert one.sha256 == dataset.sha256[split] and one.complete
            assert {image.tobytes() for image in one.images.transpose(0, 2, 3, 1)} == {
                i.tobytes() for i in given_images
            }
            for image, label in zip(one.images.transpose(0, 2, 3, 1), one.labels, strict=True):
                assert label == labels[[np.array_equal(image, other) for other in images].index(True)]
        assert np.array_equal(own_images(dataset.id, "train", 4).images, own_images(dataset.id, "train").images[:4])


def test_a_constant_channel_gets_a_deviation_of_one_and_says_so(place):
    images = drawn(3)
    images[..., 2] = 7
    dataset = reading(saved(place, images, np.arange(12) % 2, ["train"] * 8 + ["test"] * 4, [*"ab"]), new(place))
    assert dataset.facts.std[2] == 1.0 and dataset.facts.std[0] < 0.5
    assert any("Channel 3 is constant" in note for note in dataset.notes)


def test_without_a_split_a_fifth_of_each_class_is_drawn_and_copies_stay_together(place):
    images, labels = drawn(4, 100), np.arange(100) % 4
    copies = by_class(images, labels) | {f"ant/copy{at}.png": png(images[0]) for at in range(3)}
    into = new(place)
    dataset = reading(folder(new(place), copies), into)
    assert np.array([*dataset.counts.values()]).sum(0).tolist() == [28, 25, 25, 25]
    assert dataset.counts["test"][1:] == (5, 5, 5)
    (train, _), (test, _) = (arrays(dataset, into, split) for split in SPLITS)
    assert len(train) + len(test) == 103
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    assert any(
        "of each class are for training and 20% for testing, drawn with seed 0" in note for note in dataset.notes
    )


def test_the_first_images_are_of_all_classes(place):
    """A part of a data set, which merges measure on, is a fair sample although folders come class by class."""
    images, labels, into = drawn(5, 400), np.repeat(np.arange(4), 100), new(place)
    reading(saved(place, images, labels, ["train"] * 399 + ["test"], [*"abcd"]), into)
    _, order = arrays(None, into, "train")
    assert min(np.bincount(order[:100], minlength=4)) > 10


def test_test_images_that_are_training_images_and_classes_without_test_images_are_said(place):
    images = drawn(6)
    files = by_class(images[:6], [0, 0, 1, 1, 2, 2], "train") | by_class(images[4:7], [2, 0, 0], "test")
    notes = " ".join(reading(folder(new(place), files), new(place)).notes)
    assert "2 of 3 test images are also training images." in notes
    assert "There are no test images of the class bee." in notes
    assert "2 images have an identical copy in another class." in notes


ACCEPTED = [
    ({"a/b/train/ant": 2, "a/b/train/bee": 2, "a/b/test/ant": 1, "a/b/test/bee": 1}, ("ant", "bee"), ""),
    ({"Train/ant": 2, "Train/bee": 2, "Val/ant": 1, "Val/bee": 1}, ("ant", "bee"), "validation images are used"),
    ({"train/ant": 2, "train/bee": 2, "val/ant": 3, "test/bee": 1}, ("ant", "bee"), "Left out: 3 validation"),
    ({"train/ant": 3, "train/bee": 3}, ("ant", "bee"), "The images had no split"),
    ({"car/x": 2, "train": 2, "bus": 2}, ("bus", "car", "train"), ""),
    ({"ant/images/more": 3, "bee": 3, "__MACOSX/ant": 9, ".git/x": 2}, ("ant", "bee"), ""),
    ({"0": 2, "1": 2, "2": 2, "10": 2}, ("0", "1", "10", "2"), "order of their names as text"),
]


@pytest.mark.parametrize("counts, classes, note", ACCEPTED)
@pytest.mark.parametrize("kind", [folder, zipped])
def test_layouts_people_have_are_understood(place, kind, counts, classes, note):
    number = iter(drawn(7, 60))
    files = {f"{top}/{at}.png": png(next(number)) for top, count in counts.items() for at in range(count)}
    dataset = reading(kind(new(place), files), new(place))
    assert dataset.facts.classes == classes
    assert note in " ".join(dataset.notes)


def test_what_is_no_image_is_left_out_and_said_but_not_what_systems_leave_behind(place):
    extra = {"ant/README.md": b"x", "labels.csv": b"", "ant/.DS_Store": b"", "bee/Thumbs.db": b"", "bee/._1.png": b""}
    (note, _) = reading(folder(new(place), two_classes() | extra), new(place)).notes
    assert note == "Left out, because they are not images: ant/README.md, labels.csv."


def colour(value: tuple[int, ...], mode: str, form: str, size=(4, 4), **options) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, value).save(out, form, **options)
    return out.getvalue()


DEEP = png(np.full((4, 4), 40_000, np.uint16))
EXIF = Image.Exif()
EXIF[0x0112] = 6
PALETTE = Image.new("P", (4, 4), 1)
PALETTE.putpalette([0, 0, 0, 200, 100, 50])
KINDS = [
    ("grey.png", colour((90,), "L", "PNG"), (90,), ""),
    ("bits.png", colour((1,), "1", "PNG"), (255,), ""),
    ("deep.png", DEEP, (156,), "have 16 bits and were scaled to 8"),
    ("deep.pgm", b"P5 4 4 65535\n" + (40_000).to_bytes(2, "big") * 16, (156,), "have 16 bits and were scaled to 8"),
    ("deep.tif", png(np.full((4, 4), 40_000, np.uint16), "TIFF"), (156,), "have 16 bits"),
    ("clear.png", colour((10, 200, 30, 0), "RGBA", "PNG"), (10, 200, 30), "transparent parts"),
    ("solid.png", colour((10, 200, 30, 255), "RGBA", "PNG"), (10, 200, 30), ""),
    ("grey-clear.png", colour((77, 9), "LA", "PNG"), (77,), "transparent parts"),
    ("ink.tif", colour((0, 0, 0, 0), "CMYK", "TIFF"), (255, 255, 255), "converted from CMYK"),
    ("one.gif", colour((255, 0, 0), "RGB", "GIF"), (255, 0, 0), ""),
    ("one.webp", colour((0, 0, 255), "RGB", "WEBP", lossless=True), (0, 0, 255), ""),
    ("one.bmp", colour((1, 2, 3), "RGB", "BMP"), (1, 2, 3), ""),
]


@pytest.mark.parametrize("name, data, value, note", KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_of_image_keeps_its_colours(place, name, data, value, note):
    into = new(place)
    files = {f"{split}/{kind}/{name}": data for split in SPLITS for kind in ("ant", "bee")}
    dataset = reading(folder(new(place), files), into)
    images, _ = arrays(dataset, into, "train")
    assert images.shape[1:] == (len(value), 4, 4)
    assert images[0, :, 1, 1].tolist() == list(value)
    assert note in " ".join(dataset.notes)
    assert sum("4 of 4 images" in said for said in dataset.notes) == bool(note)


def test_a_palette_is_looked_up_and_photos_are_turned_upright(place):
    out = io.BytesIO()
    PALETTE.save(out, "PNG")
    turned = np.zeros((6, 4, 3), np.uint8)
    turned[0] = 255  # the camera's top row is the right side
    photo = png(turned, exif=EXIF.tobytes())
    files = {f"{kind}/photo{at}.png": photo for kind in ("ant", "bee") for at in range(2)} | {
        "ant/p.png": out.getvalue()
    }
    files |= by_class(drawn(8, 4), [0, 0, 1, 1])
    into = new(place)
    dataset = reading(folder(new(place), files), into, size=(4, 6))
    images = np.concatenate([arrays(dataset, into, split)[0] for split in SPLITS])
    assert any((image[:, :, 5] == 255).all() and (image[:, :, :5] == 0).all() for image in images)
    assert any((image == np.array([200, 100, 50])[:, None, None]).all() for image in images)
    assert any("4 of 9 images were turned upright" in note for note in dataset.notes)


def test_sizes_are_brought_to_the_most_common_one_and_it_is_said(place):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    files = two_classes(9, size=(4, 4)) | {"ant/wide.png": png(wide), "bee/large.png": png(drawn(9, 1, (8, 8))[0])}
    into = new(place)
    dataset = reading(folder(new(place), files), into)
    assert dataset.facts.shape == (3, 4, 4)
    assert "2 of 11 images had another size and were scaled to 4×4 and cropped at the centre." in dataset.notes
    images = np.concatenate([arrays(dataset, into, split)[0] for split in SPLITS])
    assert any((image == 255).all() for image in images)  # the middle of the wide one


@pytest.mark.parametrize(
    "setting, channels, note", [("grey", 1, "converted to grey"), ("colour", 3, ""), ("auto", 3, "")]
)
def test_channels_are_those_asked_for(place, setting, channels, note):
    dataset = reading(folder(new(place), two_classes()), new(place), colour=setting)
    assert dataset.facts.shape[0] == channels and note in " ".join(dataset.notes)
    grey = reading(folder(new(place), two_classes(channels=1)), new(place), colour="colour")
    assert grey.facts.shape[0] == 3 and len(set(grey.facts.mean)) == 1
    assert any("are grey and were copied" in note for note in grey.notes)


def test_the_names_of_other_programs_arrays_are_read(place):
    images, labels = drawn(10), np.arange(12)[:, None] % 2
    first = {"train_images": images[:8], "train_labels": labels[:8].astype(np.uint8)}
    medical = {**first, "val_images": images[:1], "test_images": images[8:], "test_labels": labels[8:]}
    keras = {"x_train": images[:8], "y_train": labels[:8, 0], "x_test": images[8:], "y_test": labels[8:, 0]}
    datasets = []
    for given_arrays in (medical, keras):
        path = new(place).with_suffix(".npz")
        np.savez(path, **given_arrays)
        datasets.append(reading(path, new(place)))
    assert datasets[0].id == datasets[1].id and datasets[0].facts.classes == ("0", "1")
    assert datasets[0].notes == ("Other arrays were left out: val_images.",)


def test_python_reads_them_as_batches_that_a_merge_takes(place):
    source = folder(new(place), two_classes(20))
    images = merging.load_images(source, size=(6, 6))
    assert images.shape == (3, 6, 6) and images.classes == ("ant", "bee")
    assert (images.train.count, images.test.count) == (16, 4)
    assert next(iter(images.test))[0].max() <= 1 and as_batches(images.train) is images.train
    assert images.id.startswith("own-") and list(place.glob("*/reading")) == []


def test_the_process_gives_what_the_reader_gives_and_its_errors(place):
    source = folder(new(place), two_classes())
    dataset = convert_images(source, new(place), label="  two\nkinds ")
    assert (dataset.id, dataset.facts.label) == (reading(source, new(place)).id, "twokinds")
    with pytest.raises(DataUnavailable, match="There are no images here"):
        convert_images(folder(new(place), {"a/b.txt": b""}), new(place))
    with pytest.raises(DataUnavailable, match="There is nothing at"):
        convert_images(place / "nowhere", new(place))


@pytest.mark.parametrize("text, size", [("", None), ("32x48", (32, 48)), (" 32 × 48", (32, 48)), ("7", (7, 7))])
def test_a_size_is_read_from_words(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["x", "axb", "1x2x3", "-3", "1x²", "9999999"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidSetting, match="such as 32x32"):
        read_size(text)
