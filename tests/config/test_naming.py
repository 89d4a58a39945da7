"""The names of the directories that runs get by default."""

import os
import re

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config import experiments


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


@pytest.mark.parametrize("recipes", [1, 20])
@pytest.mark.parametrize("folder", ["photos", "\u00e9" * 120, "x" + "\U0001f600\u00e9\u8c93" * 25])
def test_a_name_that_would_be_too_long_keeps_its_beginning_and_its_digest(tmp_path, recipes, folder):
    def name(place, count=recipes, **changes):
        config = settings.load("image_folder:auto")
        chosen = ",".join(list(experiments.EXPERIMENTS)[:count])
        config.update_from_flattened_dict({"dataset.directory": f"{tmp_path}/{place}", "recipes": chosen} | changes)
        return os.path.basename(settings.default_workdir(config))

    first = name(folder)
    assert len(first.encode()) <= (240 if recipes == 1 else 200)
    assert first.startswith(f"image_folder-{folder[:5]}".replace("\U0001f600", "_"))
    assert re.search("-auto-baseline.*-all-per-class-seed-0-[0-9a-f]{6}$", first)
    others = [name(folder, recipes + 1), name(f"{folder}x"), name(f"other/{folder}"), name(folder, seed=1)]
    assert len({first, *others}) == 5 and all(len(other.encode()) <= 240 for other in others)
    assert first == name(folder)


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
