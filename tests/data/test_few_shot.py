from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from chimeramix_jax.config import load
from chimeramix_jax.config.checking import check
from chimeramix_jax.data import few_shot_indices, load_few_shot
from chimeramix_jax.data.builders.digits import TRAIN_IMAGES
from chimeramix_jax.data.few_shot import division_indices
from chimeramix_jax.errors import InputError

PUBLISHED = np.load(Path(__file__).parents[1] / "fixtures" / "few_shot_splits.npz")
LABELS = np.array([2, 0, 1, 0, 2, 1, 0, 2, 2, 1])


@pytest.mark.parametrize("count", [5, 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_drawn_indices_equal_the_published_programs(count, seed):
    expected = PUBLISHED[f"few_shot_indices_n{count}_seed{seed}"]
    np.testing.assert_array_equal(few_shot_indices(PUBLISHED["few_shot_labels"], count, seed), expected)


def test_every_class_gets_the_same_number_of_different_examples():
    chosen = few_shot_indices(LABELS, 2, seed=3)
    assert len(set(chosen.tolist())) == 6
    assert np.bincount(LABELS[chosen]).tolist() == [2, 2, 2]
    assert chosen.dtype == np.int64


def test_without_a_limit_all_examples_are_kept_in_an_order_that_depends_on_the_seed():
    first, second = few_shot_indices(LABELS, None, seed=0), few_shot_indices(LABELS, None, seed=1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_limit_equal_to_the_smallest_class_is_allowed():
    assert len(few_shot_indices(LABELS, 3, seed=0)) == 9


def test_a_limit_above_the_smallest_class_is_refused_with_its_name_and_size():
    with pytest.raises(InputError, match=r"max_labels_per_class: 4.*'zebra' has only 3.*1 to 3"):
        few_shot_indices(LABELS, 4, seed=0, class_names=["zebra", "yak", "xerus"])


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(InputError, match=rf"max_labels_per_class: {limit}; it must be at least 1"):
        few_shot_indices(LABELS, limit, seed=0)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed: -1"):
        few_shot_indices(LABELS, 1, seed=-1)


def test_divisions_are_consecutive_images_of_each_class_and_do_not_overlap():
    labels = np.array([0, 1, 1, 0, 0, 1, 1, 0])
    assert division_indices(labels, 2, 0).tolist() == [0, 3, 1, 2]
    assert division_indices(labels, 2, 1).tolist() == [4, 7, 5, 6]
    with pytest.raises(InputError, match=r"dataset.division: 2, which are the images 5 to 6 .* class 'a' has only 4"):
        division_indices(labels, 2, 2, ("a", "b"))


def test_the_division_of_a_data_set_is_the_same_for_all_seeds_and_needs_a_number_of_images(dataset_config):
    dataset_config.update({"name": "digits", "division": 1})
    first, second = (load_few_shot(dataset_config, 3, seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.train_indices, second.train_indices)
    published = load_digits().target[:TRAIN_IMAGES]
    np.testing.assert_array_equal(first.train_indices, division_indices(published, 3, 1))
    config = load("digits:baseline")
    config.update({"max_labels_per_class": None, "dataset": {"division": 0}})
    with pytest.raises(InputError, match=r"dataset.division: 0, but with max_labels_per_class None"):
        check(config, environment=False)
