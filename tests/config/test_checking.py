import math

import pytest
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import experiments, shipped
from chimeramix_jax.config.catalog import DATASET_NAMES
from chimeramix_jax.errors import InputError
from tests.config.changed_settings import changed


def refusal(config: ConfigDict) -> str:
    with pytest.raises(InputError) as caught:
        settings.check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS)
@pytest.mark.parametrize("file", shipped.names())
def test_every_config_file_has_every_experiment_with_valid_settings(file, experiment, tmp_path):
    config = settings.load(f"{file}:{experiment}")
    if config.dataset.name == "image_folder":
        config.dataset.directory = str(tmp_path)
    settings.check(config)
    assert config.dataset.name == file.removesuffix("_gpu")
    assert config.experiment == experiment
    flat = settings.flatten(config)
    assert {key: flat[key] for key in experiments.EXPERIMENTS[experiment]} == experiments.EXPERIMENTS[experiment]


def test_every_data_set_has_a_config_file():
    assert set(shipped.names()) >= set(DATASET_NAMES)


def test_the_cifar_family_shares_all_settings_except_data_set_and_cutout_side():
    reference = settings.load("cifair10")
    for name in ("cifair100", "cifar10", "cifar100"):
        other = settings.load(name)
        hundred = name.endswith("100")
        expected = [f"dataset.name: 'cifair10' stored, {name!r} requested"]
        expected += ["augment.cutout_side: 16 stored, 8 requested"] * hundred
        assert sorted(settings.differences(reference, other)) == sorted(expected)


def test_an_unknown_experiment_is_refused_with_a_suggestion_and_all_names():
    with pytest.raises(InputError) as caught:
        settings.load("cifair10:chimeramix_gird")
    message = str(caught.value)
    assert message.startswith("experiment: 'chimeramix_gird'")
    assert "did you mean 'chimeramix_grid'?" in message
    assert all(name in message for name in experiments.EXPERIMENTS)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        ("baseline", {"classifier.image_side": 64}, "classifier.image_side: 64, but the images are stored at dataset."),
        ("chimeramix_grid", {"generator.image_side": 64}, None),  # as published, of images with 32
        ("chimeramix_grid", {"dataset.image_side": 16, "classifier.image_side": 16}, None),  # 32 is the smallest
        ("baseline", {"classifier.image_side": 64, "dataset.image_side": 64}, None),
        ("baseline", {"classifier.image_side": 64, "dataset.name": "digits"}, None),
    ],
)
def test_images_that_would_be_stored_smaller_than_networks_see_them_are_refused(experiment, changes, message):
    config = settings.load(f"image_folder:{experiment}")
    config.update_from_flattened_dict(changes)
    if message is None:
        settings.refuse_enlarged(config)
        return
    with pytest.raises(InputError) as caught:
        settings.refuse_enlarged(config)
    key, value = next(iter(changes.items()))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"set --config.dataset.image_side={value}, too, or lower {key} to 32")


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS)
@pytest.mark.parametrize("file", shipped.names())
def test_no_shipped_settings_enlarge_stored_images(file, experiment):
    settings.refuse_enlarged(settings.load(f"{file}:{experiment}"))


def test_every_setting_has_exactly_one_rule(config):
    assert set(settings.SETTINGS) == set(settings.flatten(config))


@pytest.mark.parametrize("key", settings.SETTINGS)
def test_a_value_of_a_wrong_type_is_refused_for_every_setting(config, key):
    assert refusal(changed(config, key, b"bytes")).startswith(f"{key}: b'bytes' is not allowed; it must be ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("seed", True),
        ("max_labels_per_class", 0),
        ("max_labels_per_class", 5.0),
        ("compare_with_baseline", 1),
        ("precision", "float16"),
        ("experiment", "a/b"),
        ("dataset.holdout_fraction", 1.0),
        ("augment.crop_padding_fraction", 0.6),
        ("mixing.mask", "gird"),
        ("mixing.mix_size", 1),
        ("generator.image_side", 62),
        ("generator.epochs", 0),
        ("generator.epochs", True),
        ("generator.learning_rate", 0.0),
        ("generator.learning_rate", math.nan),
        ("generator.learning_rate", math.inf),
        ("generator.learning_rate", "0.1"),
        ("generator.adam_b1", 1.0),
        ("generator.learning_rate_drops", (0.6, 0.3)),
        ("generator.learning_rate_drops", (0.3, 0.3)),
        ("generator.learning_rate_drops", (0.0, 0.3)),
        ("generator.learning_rate_drops", 0.3),
        ("generator.learning_rate_drop_factor", 0),
        ("generator.reconstruction_weight", -1.0),
        ("classifier.image_side", 30),
        ("generator.image_side", 36),
        ("classifier.dropout_rate", 1.0),
        ("classifier.loss", "hinge"),
        ("classifier.convolutions", "wavelet"),
        ("classifier.head", "arcface"),
        ("classifier.tvmf_kappa", -1.0),
        ("classifier.dropout_rate", -0.1),
        ("classifier.batch_size", 2.5),
        ("checkpoint.keep", 0),
        ("steps_per_call", -1),
        ("on_nonfinite", "ignore"),
        ("deterministic", 1),
    ],
)
def test_a_value_out_of_range_is_refused_with_key_and_value(config, key, value):
    assert refusal(changed(config, key, value)).startswith(f"{key}: {value!r} is not allowed; it must be ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 2**31 - 1),
        ("max_labels_per_class", None),
        ("max_labels_per_class", 2),
        ("classifier.model", "resnet-50"),
        ("generator.learning_rate", 1),
        ("generator.learning_rate_drops", ()),
        ("generator.learning_rate_drops", [0.5]),
        ("generator.image_side", 32),
        ("mixing.mix_size", 16),
        ("classifier.dropout_rate", 0),
        ("classifier.model", "wrn-28-10"),
        ("classifier.model", "wrn-10-1"),
        ("classifier.model", "wrn-10-4-early"),
        ("evaluation.mirror", True),
        ("evaluation.crops", 5),
        ("steps_per_call", 0),
    ],
)
def test_values_at_the_limits_of_the_range_are_allowed(config, key, value):
    settings.check(changed(config, key, value))


def test_whole_numbers_of_any_size_are_refused_like_others_out_of_range(config):
    for key, rule in settings.SETTINGS.items():
        assert not rule.holds(10**400), key


def test_a_mask_finer_than_the_feature_map_is_refused_with_the_largest_allowed_size(config):
    config.generator.image_side = 32
    config.mixing.mix_size = 9
    assert "from 2 to 8" in refusal(config)
    config.mixing.mix_size = 8
    settings.check(config)


def test_a_small_generator_side_is_refused_only_if_a_generator_is_used(config):
    config.generator.image_side = 28
    assert refusal(config).startswith("generator.image_side: 28")
    config.mixing.mask = "none"
    settings.check(config)


@pytest.mark.parametrize(
    ("model", "neighbours"),
    [
        ("wrn-17-8", "wrn-16-8, wrn-22-8"),
        ("wrn-27-2", "wrn-22-2, wrn-28-2"),
        ("wrn-4-2", "wrn-10-2"),
        ("wrn-12-4-early", "wrn-10-4-early, wrn-16-4-early"),
    ],
)
def test_an_impossible_network_depth_is_refused_with_the_closest_depths(config, model, neighbours):
    config.classifier.model = model
    assert refusal(config).endswith(f"closest are {neighbours}")


@pytest.mark.parametrize(
    "model", ["wrn-16", "wrn-16-0", "resnet-18", "WRN-16-8", "wrn-16-8-1", "wrn-16-8-late", "early", ""]
)
def test_an_unknown_network_is_refused(config, model):
    config.classifier.model = model
    assert refusal(config).startswith(f"classifier.model: {model!r} is not allowed")


def test_averaging_over_mirror_images_is_refused_if_training_shows_none(config):
    config.evaluation.mirror = True
    config.augment.horizontal_flip = False
    message = refusal(config)
    assert message.startswith("evaluation.mirror: True, but with augment.horizontal_flip False")
    assert message.endswith("--config.augment.horizontal_flip=false --config.evaluation.mirror=false")


def test_the_cosine_loss_is_refused_with_a_head_that_is_not_linear(config):
    config.classifier.loss, config.classifier.head = "cosine", "tvmf"
    assert refusal(config).startswith("classifier.head: 'tvmf', but classifier.loss 'cosine' compares the outputs of a")


def test_averaging_over_shifted_crops_is_refused_if_training_shows_none(config):
    config.evaluation.crops = 3
    assert refusal(config) == "evaluation.crops: 3 is not allowed; it must be 1 or 5"
    config.evaluation.crops, config.augment.crop_padding_fraction = 5, 0.0
    assert refusal(config).startswith("evaluation.crops: 5, but with augment.crop_padding_fraction 0 ")
    config.augment.crop_padding_fraction = 1 / 32
    settings.check(config)


def test_an_unknown_data_set_is_refused_with_all_names(config):
    config.dataset.name = "cifair"
    message = refusal(config)
    assert message.startswith("dataset.name")
    assert all(name in message for name in DATASET_NAMES)


def test_an_archive_must_exist_and_is_allowed_only_for_data_sets_that_have_one(config, tmp_path):
    archive = tmp_path / "ciFAIR-10.zip"
    config.dataset.archive = str(archive)
    assert "is not a file" in refusal(config)
    archive.touch()
    settings.check(config)
    config.dataset.name = "digits"
    assert refusal(config).startswith("dataset.archive: ")


def test_prepared_data_need_a_place_where_there_is_no_home_folder(config, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as Python does where nobody knows the user
    assert refusal(config).startswith("dataset.data_dir: '', but there is no home folder")
    config.dataset.data_dir = "/data"
    settings.check(config)


@pytest.mark.parametrize(
    ("place", "expected"), [("gs://bucket/data", "needs one of"), ("hdfs://host/data", "is a URL")]
)
def test_a_url_in_the_environment_is_refused_as_in_the_settings(config, monkeypatch, place, expected):
    monkeypatch.setenv("TFDS_DATA_DIR", place)
    message = refusal(config)
    assert message.startswith("TFDS_DATA_DIR") and expected in message
    config.dataset.data_dir = "/data"
    settings.check(config)


def test_a_directory_is_required_for_image_folders_and_refused_for_others(config, tmp_path):
    config.dataset.name = "image_folder"
    assert refusal(config).startswith("dataset.directory: ''")
    config.dataset.directory = str(tmp_path / "absent")
    assert refusal(config).startswith("dataset.directory: ")
    config.dataset.directory = str(tmp_path)
    settings.check(config)
    config.dataset.name = "digits"
    assert "only image_folder" in refusal(config)


def test_photos_are_fitted_into_squares_only_where_they_may_be_of_any_shape(config, tmp_path):
    config.dataset.name, config.dataset.directory = "image_folder", str(tmp_path)
    for fit in ("crop", "pad", "stretch"):
        config.dataset.fit = fit
        settings.check(config)
    config.dataset.name, config.dataset.directory = "digits", ""
    message = refusal(config)
    assert message.startswith("dataset.fit: 'stretch', but the images of digits are square already; only image_folder")
    config.dataset.fit = "crop"
    settings.check(config)


def test_another_fit_is_another_run_and_another_generator_and_a_crop_is_as_it_was_before_the_setting(config, tmp_path):
    config = settings.load("image_folder:chimeramix_grid")
    config.dataset.directory = str(tmp_path)
    other = changed(config, "dataset.fit", "pad")
    assert settings.differences(config, other) == ["dataset.fit: 'crop' stored, 'pad' requested"]
    assert settings.differences(config, other, among=settings.generator_settings(config))
    assert settings.default_workdir(config) != settings.default_workdir(other)
    assert settings.generator_identity(config) != settings.generator_identity(other)
    assert "dataset.fit" not in settings.generator_identity(config)
    stored = settings.config_to_dict(config)
    del stored["dataset"]["fit"]
    assert settings.differences(settings.from_dict(stored), config) == []
    assert settings.from_dict(stored).dataset.fit == "crop"


def test_missing_and_unknown_settings_are_refused_by_name(config):
    with config.unlocked():
        config.generator.epoch = 3
        message = refusal(config)
        assert "generator.epoch'" in message
        assert "did you mean generator.epochs?" in message
        del config.generator.epoch
        del config.seed
    assert refusal(config).startswith("seed: missing")


def test_evaluation_on_validation_images_is_refused_if_all_images_are_training_images(config):
    config.dataset.evaluate_on = "validation"
    config.max_labels_per_class = None
    assert "dataset.evaluate_on: 'validation'" in refusal(config)
    config.max_labels_per_class = 5
    settings.check(config)


def test_all_images_of_a_folder_may_be_training_images_since_it_may_have_validation_images(tmp_path):
    config = settings.load("image_folder:baseline")
    config.dataset.directory, config.dataset.evaluate_on = str(tmp_path), "validation"
    settings.check(config)
