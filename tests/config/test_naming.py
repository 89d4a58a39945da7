"""The names of the directories that runs get by default."""

import re

from chimeramix_jax import config as settings


def test_the_default_directory_names_data_set_experiment_images_and_seed(config, tmp_path):
    config.max_labels_per_class = 5
    assert settings.default_workdir(config) == "runs/cifair10-chimeramix_grid-5-per-class-seed-0"
    config.seed = 3
    assert settings.default_workdir(config).endswith("seed-3")
    config.max_labels_per_class = None
    assert "-all-per-class-" in settings.default_workdir(config)
    config.dataset.name = "image_folder"
    config.dataset.directory = f"{tmp_path}/my flowers/"
    start = r"runs/image_folder\w*-my_flowers-chimeramix_grid-all-per-class-seed-3-"
    assert re.fullmatch(f"{start}[0-9a-f]{{6}}", settings.default_workdir(config))
    config.dataset.evaluate_on = "validation"
    assert re.search("-seed-3-validation-[0-9a-f]{6}$", settings.default_workdir(config))


def test_default_directories_depend_on_settings_and_folder_but_not_on_its_spelling(tmp_path):
    for parent in ("mine", "yours"):
        (tmp_path / parent / "photos").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "mine" / "photos")

    def name(directory="mine/photos", source="image_folder", **changes):
        config = settings.load(source)
        config.update_from_flattened_dict({"dataset.directory": f"{tmp_path}/{directory}"} | changes)
        return settings.default_workdir(config)

    assert name() == name("mine/../mine/photos/") == name(**{"checkpoint.keep": 9})
    others = [name(), name("yours/photos"), name(source="image_folder_gpu"), name(**{"classifier.epochs": 3})]
    assert len(set(others)) == len(others)
    assert others[2].startswith("runs/image_folder_gpu-photos-mixup_trivialaugment-")
    assert name("link")[-6:] == name()[-6:]


def test_names_of_tfds_data_sets_and_lists_of_images_are_single_folders_that_say_which_they_are(tmp_path):
    config = settings.load("image_folder:baseline")
    config.dataset.name = "tfds:cifar10_corrupted/fog_1:1.0.0"
    assert settings.default_workdir(config).startswith(
        "runs/tfds_cifar10_corrupted_fog_1_1.0.0-baseline-all-per-class-seed-0-"
    )
    config.dataset.update({"name": "image_folder", "directory": str(tmp_path / "clamm" / "trainval0.txt")})
    assert settings.default_workdir(config).startswith(
        "runs/image_folder-clamm_trainval0.txt-baseline-all-per-class-seed-0-"
    )
