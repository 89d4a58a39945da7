"""How long the epochs of a stage are."""

import numpy as np
import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.training.stage_data import epoch_plan


@pytest.mark.parametrize(
    ("per_class", "repeats"), [([54, 54], 2), ([90, 10, 20], 3), ([1000, 20], 1)], ids=["dip", "uneven", "large"]
)
def test_epochs_of_a_folder_show_about_as_many_images_whatever_its_size(per_class, repeats):
    config = settings.load("configs/image_folder.py")
    labels = np.repeat(np.arange(len(per_class)), per_class)
    assert epoch_plan(config, "classifier", labels).repeats == repeats


def test_epochs_of_a_subset_are_as_published():
    config = settings.load("configs/image_folder.py")
    config.max_labels_per_class = 54
    assert epoch_plan(config, "classifier", np.repeat(np.arange(2), 54)).repeats == 1
    published = settings.load("configs/cifair10.py")
    published.max_labels_per_class = None
    assert epoch_plan(published, "classifier", np.repeat(np.arange(10), 5000)).repeats == 1


@pytest.mark.parametrize(
    ("folds", "per_class", "steps"), [(0, 20, 63), (5, 16, 60), (2, 10, 63), (10, 18, 68)], ids=str
)
def test_a_fold_is_trained_for_about_as_many_steps_as_all_images(folds, per_class, steps):
    config = settings.load("configs/image_folder.py")
    config.update({"max_labels_per_class": 20, "folds": folds, "fold": min(folds, 1)})
    assert epoch_plan(config, "classifier", np.repeat(np.arange(10), per_class)).steps == steps
