import os
import zipfile

import numpy as np
import pytest

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.builders.own_images import scan
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError

RNG = np.random.default_rng(0)


def arrays(shape=(8, 8), **changed):
    """Returns a data set with MedMNIST's names: six training, two validation and three test images."""
    content = {}
    for prefix, count in (("train", 6), ("val", 2), ("test", 3)):
        content[f"{prefix}_images"] = RNG.integers(0, 256, (count, *shape), dtype=np.uint8)
        content[f"{prefix}_labels"] = (np.arange(count) % 2 * 3).astype(np.uint8)[:, None]  # the classes are 0 and 3
    return {name: values for name, values in (content | changed).items() if values is not None}


@pytest.fixture
def saved(tmp_path):
    """Returns a function that writes arrays and returns the file's path."""

    def save(**content):
        np.savez_compressed(tmp_path / "mini.npz", **content)
        return tmp_path / "mini.npz"

    return save


@pytest.fixture
def config(dataset_config, saved):
    dataset_config.update({"name": "image_folder", "image_side": 8})
    return dataset_config


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_grey_and_colour_arrays_become_the_splits(config, saved, shape):
    content = arrays(shape)
    config.directory = str(saved(**content))
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.class_names == ("0", "3")
    in_order = dataset.train.images[np.argsort(dataset.train_indices)]
    expected = content["train_images"].reshape(6, 8, 8, -1)
    np.testing.assert_array_equal(in_order, np.broadcast_to(expected, (6, 8, 8, 3)))
    assert dataset.train.labels[np.argsort(dataset.train_indices)].tolist() == [0, 1] * 3
    assert dataset.held_out.labels.tolist() == [0, 1, 0]
    assert [original.file for original in dataset.originals.held_out] == [f"test_images[{n}]" for n in range(3)]


def test_validation_arrays_are_used_on_request_and_changes_are_noticed(config, saved):
    content = arrays()
    config.directory, config.evaluate_on = str(saved(**content)), "validation"
    before = load_few_shot(config, 2, seed=0)
    np.testing.assert_array_equal(before.held_out.images[..., 0], content["val_images"])
    content["val_images"][0, 0, 0] ^= 1
    saved(**content)
    after = load_few_shot(config, 2, seed=0)
    assert changes(before.identity, after.identity) == ["1 new image", "1 image missing"]


def test_other_labels_are_noticed_even_if_the_file_has_the_same_size_and_date(config, tmp_path):
    path, content, loaded = tmp_path / "mini.npz", arrays(), []
    config.directory = str(path)
    for labels in (content["train_labels"], content["train_labels"][::-1]):
        np.savez(path, **content | {"train_labels": labels})
        os.utime(path, (1_000_000_000, 1_000_000_000))
        dataset = load_few_shot(config, None, seed=0)
        loaded.append((path.stat().st_size, dict(zip(dataset.train.names, dataset.train.labels, strict=True))))
    (size, before), (other_size, after) = loaded
    assert size == other_size and all(before[name] + after[name] == 1 for name in before)


def test_arrays_without_test_images_are_divided(config, saved):
    content = {name: values for name, values in arrays().items() if name.startswith("train")}
    config.directory = str(saved(**content))
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.divided and len(dataset.train.labels) + len(dataset.held_out.labels) == 6


WHOLE = np.zeros((6, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": None}, "has no array 'train_images'; it must have train_images .*; it has train_labels"),
        ({"test_labels": None}, "has no array 'test_labels'"),
        ({"val_images": None}, "has no array 'val_images'"),
        ({"train_images": WHOLE.astype(np.float32)}, "train_images in .* are float32; they must be uint8"),
        ({"train_images": WHOLE[0]}, r"train_images in .* have the shape \(8, 8\)"),
        ({"train_images": np.zeros((6, 8, 8, 4), np.uint8)}, r"have the shape \(6, 8, 8, 4\)"),
        ({"train_images": np.zeros((6, 28, 28, 28), np.uint8)}, r"have the shape \(6, 28, 28, 28\)"),
        ({"train_labels": np.zeros(5, np.int64)}, r"train_labels in .* have the shape \(5,\), but there are 6 images"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, r"have the shape \(6, 14\)"),
        ({"train_labels": np.linspace(0, 1, 6)}, "train_labels in .* are float64; they must be integers"),
        ({"train_labels": np.array(list("ababab"))}, "they must be integers"),
        ({"train_labels": np.zeros(6, np.int64)}, "contain only one class, 0"),
        ({"test_labels": np.array([0, 3, 7])}, "test_labels in .* contain classes without training images: 7"),
        ({"train_labels": np.array([0, 0, 0, 3, 3, 3], object)}, "they must be integers"),
        (
            {"train_labels": np.array([0, 1, 2, 0, 1, 2**64 - 1], np.uint64)},
            "train_labels in .* contain 18446744073709551615; they must be below",
        ),
        (
            {"test_labels": np.array([0, 3, 2**63], np.uint64)},
            "test_labels in .* contain 9223372036854775808; they must be below",
        ),
    ],
)
def test_unusable_arrays_are_refused_in_one_line(saved, changed, message):
    path = saved(**arrays(**changed))
    with pytest.raises(InputError, match=message) as caught:
        scan(str(path))
    assert str(caught.value).startswith("dataset.directory: ") and "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_single_image_of_a_class_is_refused_without_test_images(saved):
    labels = {"train_labels": np.array([0, 0, 0, 0, 0, 3])}
    rest = dict.fromkeys(("val_images", "val_labels", "test_images", "test_labels"))
    with pytest.raises(InputError, match=r"class '3' has a single image, .*train_images\[5\]; without test_images"):
        scan(str(saved(**arrays(**labels, **rest))))


def test_damaged_files_are_named(config, saved):
    path = saved(**arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"mini\.npz is not an \.npz file of arrays"):
        scan(str(path))
    place = whole.index(b"train_images.npy") + 60
    path.write_bytes(whole[:place] + bytes(100) + whole[place + 100 :])
    config.directory = str(path)
    with pytest.raises(InputError, match=r"mini.npz"):
        load_few_shot(config, None, seed=0)


def with_field(content, place, value):
    """Sets a field of two bytes, at its place in a local header of a zip, in all headers of all members."""
    for signature, offset in ((b"PK\x03\x04", place), (b"PK\x01\x02", place + 2)):
        first, *parts = content.split(signature)
        parts = [part[: offset - 4] + value + part[offset - 2 :] for part in parts]
        content = signature.join([first, *parts])
    return content


def encrypted(content):
    return with_field(content, 6, b"\x01\0")


def of_unknown_compression(content):
    return with_field(content, 8, b"\x61\0")


def damaged_from_the_start(content):
    """Overwrites the beginning of every compressed array."""
    for name in (b"train_images.npy", b"train_labels.npy"):
        place = content.index(name) + len(name) + 20
        content = content[:place] + b"\xff" * 40 + content[place + 40 :]
    return content


@pytest.mark.parametrize("damage", [encrypted, of_unknown_compression, damaged_from_the_start])
def test_archives_that_cannot_be_decompressed_are_refused_in_one_line(saved, damage):
    path = saved(**arrays())
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert path.read_bytes() != content
    with pytest.raises(InputError, match=r"dataset.directory: \S+mini.npz is not an .npz file of arrays \(") as caught:
        scan(str(path))
    assert "\n" not in str(caught.value)


def test_an_array_whose_header_is_damaged_is_refused_in_one_line(saved):
    path = saved(**arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"}", b" "))
    with pytest.raises(InputError, match=r"mini.npz is not an .npz file of arrays \("):
        scan(str(path))
