import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from chimeramix_jax.command_line import program
from chimeramix_jax.config.checking import check
from chimeramix_jax.config.defaults import get_config
from chimeramix_jax.data import few_shot_indices, load_few_shot
from chimeramix_jax.data.builders.tfds_images import scan_tfds
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime.invocation import installing
from tests.data import tfds_sets


@pytest.fixture
def config(dataset_config):
    dataset_config.update({"name": "tfds:insects", "image_side": 8})
    return dataset_config


def prepare(config, splits, **arguments):
    tfds_sets.prepare(config.data_dir, splits, **arguments)


def refusal(config):
    with pytest.raises(InputError) as caught:
        load_few_shot(config, 1, seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_pixels(examples, side=8, fit="crop"):
    """Returns the labels of examples by the bytes of their images as squares."""
    images = [Image.open(io.BytesIO(example["image"])).convert("RGB") for example in examples]
    return {
        np.asarray(squared(image, side, fit)).tobytes(): example["label"]
        for image, example in zip(images, examples, strict=True)
    }


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_images_of_any_size_are_fitted_like_photos_and_keep_their_classes(config, fit):
    train, test = tfds_sets.examples(12), tfds_sets.examples(6, first=100)
    prepare(config, {"train": train, "test": test})
    config.fit = fit
    dataset = load_few_shot(config, 2, seed=3)
    assert dataset.class_names == tfds_sets.CLASSES
    assert not dataset.divided and dataset.directory is None
    expected = by_pixels(train, fit=fit)
    drawn = [expected[image.tobytes()] for image in dataset.train.images]
    assert drawn == dataset.train.labels.tolist() and sorted(drawn) == [0, 0, 1, 1, 2, 2]
    held_out = dict(zip(map(np.ndarray.tobytes, dataset.held_out.images), dataset.held_out.labels, strict=True))
    assert held_out == by_pixels(test, fit=fit)
    assert dataset.held_out.names[:2] == ("test_00000", "test_00001")


def test_the_few_shot_subset_refers_to_the_order_of_the_records(config):
    prepare(config, {"train": tfds_sets.examples(12), "test": tfds_sets.examples(3, first=50)})
    source = tfds.builder("insects", data_dir=config.data_dir).as_data_source("train")
    labels = np.array([example["label"] for example in source])
    dataset = load_few_shot(config, 2, seed=1)
    np.testing.assert_array_equal(dataset.train_indices, few_shot_indices(labels, 2, seed=1))
    np.testing.assert_array_equal(dataset.train.labels, labels[dataset.train_indices])


def test_without_a_test_split_a_share_is_held_out_as_of_a_folder_even_if_a_class_has_no_images(config):
    label = tfds.features.ClassLabel(names=(*tfds_sets.CLASSES, "yak"))
    prepare(config, {"train": tfds_sets.examples(15)}, features={**tfds_sets.standard_features(), "label": label})
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.divided and dataset.class_names[3] == "yak"
    assert len(dataset.train.labels) + len(dataset.held_out.labels) == 15
    assert set(dataset.held_out.labels) == {0, 1, 2}


@pytest.mark.parametrize("damage", ["shorten", "remove"])
def test_damaged_files_are_reported_with_their_folder(config, damage):
    prepare(config, {"train": tfds_sets.examples(6), "test": tfds_sets.examples(3)})
    (records,) = (Path(config.data_dir) / "insects" / "1.0.0").glob("*-train.array_record*")
    content = records.read_bytes()
    records.unlink()
    if damage == "shorten":
        records.write_bytes(content[: len(content) // 2])
    assert refusal(config).startswith(f"dataset.data_dir: {Path(config.data_dir, 'insects', '1.0.0')} is damaged (")


def test_parts_of_splits_and_other_names_are_chosen_by_settings(config):
    prepare(
        config,
        {
            "train": tfds_sets.examples(12),
            "validation": tfds_sets.examples(6, first=50),
            "extra": tfds_sets.examples(3, first=80),
        },
    )
    config.test_split = "validation"
    assert len(load_few_shot(config, 1, seed=0).held_out.labels) == 6
    config.update({"train_split": "train[:75%]", "test_split": "train[75%:]"})
    contents = scan_tfds(config, config.data_dir)
    assert (len(contents.train), len(contents.validation), len(contents.test)) == (9, 6, 3)
    config.test_split = "none"
    assert load_few_shot(config, 1, seed=0).divided
    config.update({"test_split": "", "evaluate_on": "validation"})
    assert len(load_few_shot(config, 1, seed=0).held_out.labels) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "dataset.test_split: not set, but tfds:insects has no split called test; it has "),
        ({"train_split": "trian"}, "dataset.train_split: 'trian' is not known (did you mean 'train'?); allowed: "),
        ({"test_split": "train[50%:]"}, "dataset.test_split: 'train[50%:]' has examples in common with"),
        ({"test_split": "extra[:0%]"}, "dataset.test_split: 'extra[:0%]' has no examples"),
        ({"test_split": "extra[:x"}, "dataset.test_split: 'extra[:x' is not allowed"),
        ({"test_split": "extra"}, "dataset.test_split: 'extra' of "),  # its images have no class
        ({"label_feature": "lable"}, "dataset.label_feature: 'lable' is not known (did you mean 'label'?)"),
    ],
)
def test_unclear_splits_and_features_are_refused(config, settings, message):
    unlabelled = [{**example, "label": -1} for example in tfds_sets.examples(3, first=80)]
    prepare(config, {"train": tfds_sets.examples(6), "extra": unlabelled})
    config.update(settings)
    assert message in refusal(config)


def test_several_images_or_classes_per_example_must_be_chosen_between(config):
    features = {
        **tfds_sets.standard_features(),
        "right": tfds.features.Image(),
        "order": tfds.features.ClassLabel(num_classes=2),
    }
    rows = [
        {**row, "right": tfds_sets.encoded(500 + number), "order": number % 2}
        for number, row in enumerate(tfds_sets.examples(6))
    ]
    prepare(config, {"train": rows, "test": rows}, features=features)
    message = refusal(config)
    assert message.startswith(
        "dataset.image_feature: not set, but tfds:insects has 2 features of type Image: image, right;"
    )
    config.image_feature = "right"
    assert refusal(config).startswith(
        "dataset.label_feature: not set, but tfds:insects has 2 features of type ClassLabel"
    )
    config.label_feature = "order"
    dataset = load_few_shot(config, 1, seed=0)
    assert dataset.class_names == ("0", "1")
    right = by_pixels([{"image": row["right"], "label": row["order"]} for row in rows])
    assert [right[image.tobytes()] for image in dataset.train.images] == dataset.train.labels.tolist()


def test_a_set_without_classes_is_refused_with_what_it_has(config):
    features = {"image": tfds.features.Image(), "count": tfds.features.Scalar(np.int64)}
    prepare(config, {"train": [{"image": tfds_sets.encoded(1), "count": 3}]}, features=features)
    assert refusal(config) == (
        "dataset.name: tfds:insects has no feature of type ClassLabel; it has count (Scalar), image (Image)"
    )


def test_grey_and_transparent_images_and_jpegs_are_read_as_photos_are(config):
    rows = [
        {"image": tfds_sets.encoded(1, mode="L"), "label": 0},
        {"image": tfds_sets.encoded(2, mode="RGBA"), "label": 1},
        {"image": tfds_sets.encoded(3, form="JPEG"), "label": 2},
    ]
    prepare(config, {"train": rows, "test": rows})
    dataset = load_few_shot(config, 1, seed=0)
    expected = by_pixels(rows)
    assert [expected[image.tobytes()] for image in dataset.train.images] == dataset.train.labels.tolist()


def test_an_image_that_cannot_be_decoded_is_named_or_skipped(config):
    rows = tfds_sets.examples(9)
    rows[4]["image"] = rows[4]["image"][:40]
    prepare(config, {"train": rows, "test": tfds_sets.examples(3, first=50)})
    assert "dataset.name: " in refusal(config) and "insects/1.0.0: train_0000" in refusal(config)
    config.skip_unreadable = True
    with pytest.warns(UserWarning, match="skipped 1 file that cannot be read"):
        assert len(load_few_shot(config, 2, seed=0).held_out.labels) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:insect", "dataset.name: 'tfds:insect' is not known (did you mean 'tfds:insects'?)"),
        ("tfds:mnits", "dataset.name: 'tfds:mnits' is not known (did you mean 'tfds:mnist'?)"),
        ("tfds:mnist:9.9.9", "names the version 9.9.9, which is not known; TFDS"),
        ("tfds:insects:2.0.0", "is not among the prepared data sets; of insects, "),
        ("tfds:cifar10_corrupted/brigthness_1", "(did you mean 'brightness_1'?); cifar10_corrupted has "),
        ("tfds:mnist/large", "names the configuration 'large', which is not known; mnist has no configurations"),
        ("tfds:", "dataset.name: 'tfds:' is not allowed; it must be tfds:NAME"),
        ("tfds:mnist:latest", "is not allowed; it must be tfds:NAME"),
        ("tfds:kmnist", f"preparing it needs TensorFlow: {installing('tensorflow')}, or copy it"),
        ("tfds:lfw", "dataset.name: tfds:lfw has no feature of type ClassLabel; it has "),
        ("tfds:coco", "dataset.name: tfds:coco needs a package that is not installed ("),
    ],
)
def test_names_that_are_not_known_or_cannot_be_prepared_are_refused(config, name, message, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *rest: None if module == "tensorflow" else find_spec(module, *rest)
    )
    (Path(config.data_dir) / "insects" / "1.0.0").mkdir(parents=True)
    (Path(config.data_dir) / "insects" / "1.0.0" / "dataset_info.json").write_text("{}")
    config.name = name
    assert message in refusal(config)


def test_data_in_a_format_that_needs_tensorflow_are_refused(config):
    prepare(config, {"train": tfds_sets.examples(6), "test": tfds_sets.examples(3)})
    info_file = Path(config.data_dir) / "insects" / "1.0.0" / "dataset_info.json"
    info = json.loads(info_file.read_text())
    info["fileFormat"] = "tfrecord"
    for split in info["splits"]:
        split["filepathTemplate"] = "{DATASET}-{SPLIT}.tfrecord-{SHARD_X_OF_Y}"
    info_file.write_text(json.dumps(info))
    assert "in the format tfrecord, but array_record is needed" in refusal(config)


def test_settings_for_tfds_are_refused_for_other_data_sets():
    config = get_config()
    config.dataset.test_split = "test"
    with pytest.raises(InputError, match=r"dataset.test_split: 'test', but only tfds:NAME can use it"):
        check(config, environment=False)


def test_a_check_looks_at_a_prepared_set_and_a_mistyped_name_exits_with_2_before_any_work(tmp_path, capsys):
    splits = {"train": tfds_sets.examples(9), "test": tfds_sets.examples(6, first=50)}
    tfds_sets.prepare(tmp_path / "data", splits)

    def check_code(name, workdir):
        folders = [f"--config.dataset.data_dir={tmp_path / 'data'}", f"--workdir={workdir}"]
        return program.main(["--stage=check", "--config=image_folder", f"--config.dataset.name={name}", *folders])

    assert check_code("tfds:insects", tmp_path / "run") == 0
    assert "ant           3     2" in capsys.readouterr().out
    assert check_code("tfds:insetcs", tmp_path / "other") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean 'tfds:insects'?" in line and not (tmp_path / "other").exists()
