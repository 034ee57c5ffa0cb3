"""The images: where they are looked for, what the readers refuse, and that the shipped part is what it says."""

import gzip
import pickle
import struct

import numpy as np
import pytest

from merging.errors import DataUnavailable, InvalidSetting
from merging.zoo.datasets import load as datasets
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.file_formats import read_cifar, read_idx, write_idx


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No folder of the user's and no download: only what is shipped."""
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def fake_fashion(folder, count: int):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for kin in ("train", "t10k"):
        write_idx(raw / f"{kin}-images-idx3-ubyte.gz", np.full((count, 28, 28), 7, np.uint8))
        write_idx(raw / f"{kin}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)


def cifar_batch(path, images, labels, key="labels"):
    path.write_bytes(pickle.dumps({"data": images.reshape(len(images), -1), key: list(labels)}, protocol=3))


def test_the_shipped_part_is_read_without_a_network(nowhere):
    assert datasets.available("fashion-mnist") == "shipped"
    assert datasets.training_images("fashion-mnist") == len(datasets.load_split("fashion-mnist", "train"))
    assert datasets.training_images("cifar-10") == 0
    train, test = datasets.load_split("fashion-mnist", "train"), datasets.load_split("fashion-mnist", "test")
    assert train.images.shape == (10_000, 1, 28, 28)
    assert not train.complete
    assert test.images.shape == (10_000, 1, 28, 28)
    assert test.complete
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes[9] == "Ankle boot"
    assert test.sha256 == "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e"


def test_the_licence_lies_beside_the_images():
    assert "Zalando SE" in (datasets.IMAGES / "fashion-mnist" / "LICENSE").read_text("utf-8")


def test_a_limit_gives_the_first_images(nowhere):
    some = datasets.load_split("fashion-mnist", "test", limit=7)
    assert len(some) == 7
    assert not some.complete
    with pytest.raises(InvalidSetting, match="above 0"):
        datasets.load_split("fashion-mnist", "test", limit=0)


def test_the_users_folder_comes_first_then_the_downloads(nowhere, monkeypatch):
    fake_fashion(nowhere / "cache" / "mergescope" / "data", 3)
    assert datasets.available("fashion-mnist") == "downloaded"
    assert len(datasets.load_split("fashion-mnist", "train")) == 3
    fake_fashion(nowhere / "mine", 5)
    monkeypatch.setenv("MERGESCOPE_DATA", str(nowhere / "mine"))
    assert datasets.available("fashion-mnist") == "folder"
    assert len(datasets.load_split("fashion-mnist", "train")) == 5


def test_missing_images_say_what_to_do(nowhere):
    assert datasets.available("cifar-10") is None
    with pytest.raises(DataUnavailable, match=r"MERGESCOPE_DATA.*cifar-10-batches-py"):
        datasets.load_split("cifar-10", "test")


@pytest.mark.parametrize(
    "call", [datasets.available, lambda name: datasets.load_split(name, "test"), datasets.download]
)
def test_an_unknown_data_set_lists_the_known(call):
    with pytest.raises(InvalidSetting, match="fashion-mnist, mnist, cifar-10, cifar-100"):
        call("imagenet")


def test_cifar_is_read_in_the_files_order(nowhere, monkeypatch):
    folder = nowhere / "cifar-10-batches-py"
    folder.mkdir()
    images = np.arange(12 * 3072, dtype=np.int64).astype(np.uint8).reshape(12, 3, 32, 32)
    for number in range(5):
        cifar_batch(folder / f"data_batch_{number + 1}", images[2 * number : 2 * number + 2], [number, 9])
    cifar_batch(folder / "test_batch", images[10:], [1, 2])
    monkeypatch.setenv("MERGESCOPE_DATA", str(nowhere))
    train = datasets.load_split("cifar-10", "train")
    assert train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert np.array_equal(train.images, images[:10])
    assert np.array_equal(datasets.load_split("cifar-10", "test").images, images[10:])


def test_cifar_100_uses_the_fine_labels(nowhere, monkeypatch):
    folder = nowhere / "cifar-100-python"
    folder.mkdir()
    for split in ("train", "test"):
        cifar_batch(folder / split, np.zeros((2, 3, 32, 32), np.uint8), [99, 3], "fine_labels")
    monkeypatch.setenv("MERGESCOPE_DATA", str(nowhere))
    assert datasets.load_split("cifar-100", "train").labels.tolist() == [99, 3]


@pytest.mark.parametrize("name", FACTS)
def test_the_facts_fit_together(name):
    facts = FACTS[name]
    assert len(facts.mean) == len(facts.std) == facts.shape[0]
    assert len(set(facts.classes)) == len(facts.classes) == (100 if name == "cifar-100" else 10)


def test_the_statistics_are_those_of_the_images(nowhere):
    images = datasets.load_split("fashion-mnist", "train").images / 255
    assert images.mean() == pytest.approx(FACTS["fashion-mnist"].mean[0], abs=2e-3)
    assert images.std() == pytest.approx(FACTS["fashion-mnist"].std[0], abs=2e-3)


def test_idx_goes_out_and_comes_back(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    assert np.array_equal(read_idx(tmp_path / "a.gz"), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08\x01",
        b"\0\0\x08\x01\0\0\0\x05abc",
        b"\0\0\x08\x01\0\0\0\x02abc",
        b"\0\0\x0d\x01\0\0\0\x01a",
        b"\0\0\x08\x09" + b"\0" * 36,
        b"<html>404</html>",
        struct.pack(">4B4I", 0, 0, 8, 4, *[2**31] * 4),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataUnavailable, match="images"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"\0\0\x08\x01\0\0\0\x05abcde" * 99, mtime=0)[:-12]])
def test_a_damaged_archive_is_refused(tmp_path, content):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(DataUnavailable, match="cannot be read"):
        read_idx(tmp_path / "images.gz")


def test_images_of_another_shape_are_refused(nowhere, monkeypatch):
    fake_fashion(nowhere, 3)
    write_idx(nowhere / "FashionMNIST/raw/train-labels-idx1-ubyte.gz", np.zeros(2, np.uint8))
    monkeypatch.setenv("MERGESCOPE_DATA", str(nowhere))
    with pytest.raises(DataUnavailable, match="Fashion-MNIST files hold"):
        datasets.load_split("fashion-mnist", "train")
    write_idx(nowhere / "FashionMNIST/raw/train-labels-idx1-ubyte.gz", np.full(3, 10, np.uint8))
    with pytest.raises(DataUnavailable, match="outside their 10 classes"):
        datasets.load_split("fashion-mnist", "train")


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    batch, trace = tmp_path / "test_batch", tmp_path / "trace"
    batch.write_bytes(pickle.dumps({"data": Hostile(trace), "labels": [1]}, protocol=3))
    with pytest.raises(DataUnavailable, match="is not allowed"):
        read_cifar(batch, "labels")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"junk", pickle.dumps([1, 2]), pickle.dumps({"data": np.zeros(3072, np.uint8)})]
)
def test_a_damaged_cifar_batch_is_refused(tmp_path, content):
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataUnavailable, match="not a CIFAR batch"):
        read_cifar(tmp_path / "batch", "labels")


def test_cifar_images_without_their_labels_are_refused(tmp_path):
    cifar_batch(tmp_path / "batch", np.zeros((2, 3, 32, 32), np.uint8), [1])
    with pytest.raises(DataUnavailable, match="differ in number or type"):
        read_cifar(tmp_path / "batch", "labels")


def test_a_download_goes_to_the_cache_and_is_found_there(nowhere, monkeypatch):
    from merging.zoo.torchvision_import import torchvision

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", lambda root, download: fake_fashion(root, 4))
    folder = datasets.download("fashion-mnist")
    assert folder == nowhere / "cache" / "mergescope" / "data" / "FashionMNIST" / "raw"
    assert datasets.available("fashion-mnist") == "downloaded"


def test_a_failed_download_is_told_in_words(nowhere, monkeypatch):
    from merging.zoo.torchvision_import import torchvision

    def unreachable(root, download):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets, "MNIST", unreachable)
    with pytest.raises(DataUnavailable, match="MNIST could not be downloaded: Error downloading"):
        datasets.download("mnist")
