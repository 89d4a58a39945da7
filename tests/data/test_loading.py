import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from chimeramix_jax.config import load
from chimeramix_jax.config.catalog import DATASET_NAMES, lists_of
from chimeramix_jax.data import few_shot_indices, load_few_shot
from chimeramix_jax.data.builders.by_name import make_builder
from chimeramix_jax.data.builders.digits import TRAIN_IMAGES, Digits
from chimeramix_jax.errors import InputError

PREPARED_DIGITS = Path("chimeramix_digits") / "1.0.0"


@pytest.fixture
def digits_config(dataset_config):
    dataset_config.name = "digits"
    return dataset_config


def test_digits_are_read_in_published_order_with_the_chosen_images_for_training(digits_config):
    dataset = load_few_shot(digits_config, max_labels_per_class=5, seed=1)
    published = load_digits()
    images = np.repeat(np.round(published.images * 255 / 16).astype(np.uint8)[..., None], 3, axis=-1)
    expected = few_shot_indices(published.target[:TRAIN_IMAGES], 5, seed=1)
    assert dataset.name == "digits"
    assert dataset.class_names == tuple("0123456789")
    assert dataset.train.names == tuple(f"train_{index:05}" for index in dataset.train_indices)
    assert dataset.held_out.names[:2] == ("test_00000", "test_00001") and dataset.directory is None
    np.testing.assert_array_equal(dataset.train_indices, expected)
    np.testing.assert_array_equal(dataset.train.images, images[expected])
    np.testing.assert_array_equal(dataset.train.labels, published.target[expected])
    np.testing.assert_array_equal(dataset.held_out.images, images[TRAIN_IMAGES:])
    np.testing.assert_array_equal(dataset.held_out.labels, published.target[TRAIN_IMAGES:])
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int32
    assert dataset.train_indices.dtype == np.int64


def test_validation_images_are_the_unused_images_of_the_train_split(digits_config):
    digits_config.evaluate_on = "validation"
    dataset = load_few_shot(digits_config, max_labels_per_class=5, seed=1)
    published = load_digits()
    others = np.setdiff1d(np.arange(TRAIN_IMAGES), dataset.train_indices)
    images = np.round(published.images * 255 / 16).astype(np.uint8)
    np.testing.assert_array_equal(dataset.held_out.images[..., 0], images[others])
    np.testing.assert_array_equal(dataset.held_out.labels, published.target[others])


def test_every_class_of_digits_has_a_hundred_training_images_as_in_the_largest_published_setting(digits_config):
    assert len(load_few_shot(digits_config, max_labels_per_class=100, seed=0).train.labels) == 1000


def test_a_limit_above_the_smallest_class_of_digits_is_refused_with_its_name(digits_config):
    with pytest.raises(InputError, match=r"max_labels_per_class: 108, but class '8' has only 107"):
        load_few_shot(digits_config, max_labels_per_class=108, seed=0)


def test_a_limit_below_one_is_refused_before_anything_is_prepared(digits_config):
    with pytest.raises(InputError, match="max_labels_per_class: 0"):
        load_few_shot(digits_config, max_labels_per_class=0, seed=0)
    assert not Path(digits_config.data_dir).exists()


def test_prepared_data_are_not_prepared_again(digits_config, monkeypatch):
    first = load_few_shot(digits_config, 2, seed=0)
    monkeypatch.setattr(Digits, "_split_generators", lambda *_: pytest.fail("prepared again"))
    np.testing.assert_array_equal(load_few_shot(digits_config, 2, seed=0).train.images, first.train.images)


def test_preparing_and_loading_print_nothing_and_restore_logging(digits_config, capfd):
    from absl import logging

    before = logging.get_verbosity()
    load_few_shot(digits_config, 2, seed=0)
    assert logging.get_verbosity() == before
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_an_interrupted_preparation_is_repeated(digits_config, monkeypatch):
    def interrupted(self, images, labels):
        yield from list(numbered(self, images, labels))[:10]
        raise KeyboardInterrupt

    numbered = Digits._generate_examples
    with monkeypatch.context() as patch:
        patch.setattr(Digits, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_few_shot(digits_config, 2, seed=0)
    assert len(load_few_shot(digits_config, 2, seed=0).held_out.labels) == 697


def test_the_remains_of_a_killed_preparation_are_not_read(digits_config):
    left_behind = Path(digits_config.data_dir) / "chimeramix_digits" / "incomplete.ABCDEF_1.0.0"
    left_behind.mkdir(parents=True)
    (left_behind / "chimeramix_digits-train.array_record-00000-of-00001").write_bytes(b"half")
    assert len(load_few_shot(digits_config, 2, seed=0).held_out.labels) == 697


def test_losing_the_race_to_prepare_is_no_error(digits_config, monkeypatch):
    def overtaken(self, dl_manager):
        with monkeypatch.context() as patch:
            patch.setattr(Digits, "_split_generators", original)
            Digits(data_dir=digits_config.data_dir).download_and_prepare(file_format="array_record")
        return original(self, dl_manager)

    original = Digits._split_generators
    monkeypatch.setattr(Digits, "_split_generators", overtaken)
    assert len(load_few_shot(digits_config, 2, seed=0).held_out.labels) == 697
    assert [path.name for path in (Path(digits_config.data_dir) / "chimeramix_digits").iterdir()] == ["1.0.0"]


def test_two_processes_prepare_at_once_in_tfds_data_dir_without_tensorflow(tmp_path):
    program = (
        "import sys; from chimeramix_jax.config import load; from chimeramix_jax.data import load_few_shot;"
        "config = load('digits').dataset; data = load_few_shot(config, 3, 0);"
        "print(data.train.images.sum(), len(data.held_out.labels), 'tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    (first, first_errors), (second, second_errors) = [run.communicate(timeout=60) for run in runs]
    assert (first_errors, second_errors) == ("", "")
    assert first == second
    assert first.split()[1:] == ["697", "False"]
    assert (tmp_path / PREPARED_DIGITS / "dataset_info.json").is_file()


@pytest.mark.parametrize("times", [1, 100])
def test_a_folder_that_another_process_removes_meanwhile_is_made_again(digits_config, monkeypatch, tmp_path, times):
    digits_config.data_dir = str(tmp_path)
    makedirs, removed = os.makedirs, []

    def with_another_process(path, *arguments, **options):
        if os.path.basename(path) == "extracted" and len(removed) < times:
            removed.append(path)
            os.rmdir(os.path.dirname(path))
            os.mkdir(path)
        makedirs(path, *arguments, **options)

    monkeypatch.setattr(os, "makedirs", with_another_process)
    if times == 1:
        assert len(load_few_shot(digits_config, 2, seed=0).train.labels) == 20
        assert len(removed) == 1 and not (tmp_path / "downloads").exists()
    else:
        with pytest.raises(InputError, match=r"^dataset\.data_dir: digits cannot be prepared under .*extracted'$"):
            load_few_shot(digits_config, 2, seed=0)


@pytest.mark.parametrize("name", [name for name in DATASET_NAMES if not lists_of(name)])  # see test_benchmark_lists.py
def test_every_data_set_of_the_catalog_has_a_builder(name, dataset_config, tmp_path):
    dataset_config.name, dataset_config.directory = name, str(tmp_path / "photos")
    for folder in ("train/ants", "train/bees", "test/ants", "test/bees"):
        photo = tmp_path / "photos" / folder / "photo.png"
        photo.parent.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(photo)
    builder = make_builder(dataset_config)
    assert builder.name.removeprefix("chimeramix_") == name
    assert {"index", "image", "label"} <= set(builder.info.features)


def test_a_tilde_in_tfds_data_dir_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", "~/data")
    builder = make_builder(load("digits").dataset)
    assert Path(builder.data_dir) == tmp_path / "data" / PREPARED_DIGITS


def test_a_directory_without_its_description_is_reported_as_incomplete(digits_config):
    load_few_shot(digits_config, 2, seed=0)
    (Path(digits_config.data_dir) / PREPARED_DIGITS / "dataset_info.json").unlink()
    with pytest.raises(InputError, match=r"dataset.data_dir: \S*chimeramix_digits/1.0.0 is not a complete"):
        load_few_shot(digits_config, 2, seed=0)


def test_a_description_that_may_not_be_read_is_named(digits_config):
    load_few_shot(digits_config, 2, seed=0)
    description = Path(digits_config.data_dir) / PREPARED_DIGITS / "dataset_info.json"
    description.unlink()
    description.mkdir()  # not even root can read it
    with pytest.raises(InputError, match=r"dataset.data_dir: .*dataset_info.json .*Is a directory") as caught:
        load_few_shot(digits_config, 2, seed=0)
    assert "\n" not in str(caught.value)


def test_a_description_that_was_lost_in_a_power_failure_is_named(digits_config):
    load_few_shot(digits_config, 2, seed=0)
    (Path(digits_config.data_dir) / PREPARED_DIGITS / "dataset_info.json").write_bytes(b"")
    with pytest.raises(InputError, match=rf"info.json of digits is damaged .*{digits_config.data_dir}") as caught:
        load_few_shot(digits_config, 2, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_records_are_reported_with_the_directory_to_delete(digits_config, split):
    load_few_shot(digits_config, 2, seed=0)
    (records,) = (Path(digits_config.data_dir) / PREPARED_DIGITS).glob(f"*-{split}.array_record*")
    data = records.read_bytes()
    records.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"chimeramix_digits/1.0.0 is damaged; delete that directory"):
        load_few_shot(digits_config, 2, seed=0)


def test_a_data_dir_that_cannot_be_written_to_is_named(digits_config, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    digits_config.data_dir = str(tmp_path / "file")
    with pytest.raises(InputError, match=r"dataset.data_dir: digits cannot be prepared under \S*/file: ") as caught:
        load_few_shot(digits_config, 2, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?"])
def test_a_data_dir_that_contains_pattern_characters_is_refused(dataset_config, tmp_path, name):
    dataset_config.name = "digits"
    dataset_config.data_dir = str(tmp_path / name)
    with pytest.raises(InputError, match=r"dataset.data_dir: .* contains \* \? or \[,"):
        load_few_shot(dataset_config, 1, seed=0)
    assert not (tmp_path / name).exists()
