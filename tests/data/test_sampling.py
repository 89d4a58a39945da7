import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from chimeramix_jax.data import sampling
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.mixing import masks


def labelled(labels, num_classes):
    """Returns a set in which image i is filled with the number i."""
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return sampling.to_device(images, np.array(labels), num_classes)


# Images, repeats, batch size and steps: complete batches, incomplete ones, less than a batch, one image.
PLANS = [(10, 1, 5, 2), (10, 3, 4, 8), (7, 2, 4, 4), (3, 1, 8, 1), (1, 5, 2, 3), (6, 4, 8, 3)]


@pytest.mark.parametrize(("examples", "repeats", "batch_size", "steps"), PLANS)
def test_an_epoch_shows_every_image_as_often_as_planned(examples, repeats, batch_size, steps):
    plan = EpochPlan(examples, repeats, batch_size)
    order, mask = plan.order(jax.random.key(0))
    assert plan.steps == steps
    assert order.shape == (steps, batch_size)
    shown = np.asarray(order).ravel() if mask is None else np.asarray(order)[np.asarray(mask)]
    np.testing.assert_array_equal(np.bincount(shown, minlength=examples), [repeats] * examples)


@pytest.mark.parametrize(("examples", "repeats", "batch_size", "steps"), PLANS)
def test_only_the_end_of_an_incomplete_last_batch_is_masked(examples, repeats, batch_size, steps):
    order, mask = EpochPlan(examples, repeats, batch_size).order(jax.random.key(0))
    filling = steps * batch_size - examples * repeats
    if filling == 0:
        assert mask is None
        return
    expected = np.ones((steps, batch_size), bool)
    expected[-1, batch_size - filling :] = False
    np.testing.assert_array_equal(mask, expected)
    assert np.all(np.asarray(order)[~expected] == 0)


def test_epochs_are_shuffled_by_their_key():
    plan = EpochPlan(50, 2, 10)
    first, again, other = (np.asarray(plan.order(jax.random.key(seed))[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.any(first.ravel() != np.arange(100) % 50)


def test_repetitions_of_an_image_are_shuffled_among_all_others():
    first_half = np.asarray(EpochPlan(50, 2, 10).order(jax.random.key(0))[0]).ravel()[:50]
    assert 0 < np.sum(np.bincount(first_half, minlength=50) == 2) < 25


@pytest.mark.parametrize(
    ("base", "images_per_class", "repeats"),
    [
        (500, 5, 100),
        (500, 30, 16),
        (500, 100, 5),
        (500, 500, 1),
        (500, 501, 1),
        (30, 20, 1),
        (30, 10, 3),
        (120, None, 1),
    ],
)
def test_small_subsets_are_repeated_up_to_the_base_and_the_whole_set_never(base, images_per_class, repeats):
    assert sampling.repeats_per_epoch(base, images_per_class) == repeats


@pytest.mark.parametrize(
    ("images_per_class", "repeats"),
    [(2, 50), (16, 6), (20, 5), (40, 3), (50, 2), (54, 2), (66.6, 2), (75, 1), (500, 1)],
)
def test_images_of_a_folder_are_repeated_to_about_the_base(images_per_class, repeats):
    assert sampling.nearest_repeats(100, images_per_class) == repeats
    assert images_per_class > 100 or 2 / 3 <= repeats * images_per_class / 100 <= 4 / 3


def test_resident_data_list_the_members_of_uneven_and_empty_classes():
    labels = [2, 0, 2, 2, 0, 4]
    data = labelled(labels, 5)
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.member_counts, [2, 0, 3, 0, 1])
    np.testing.assert_array_equal(data.members, [[1, 4, 0], [0, 0, 0], [0, 2, 3], [0, 0, 0], [5, 0, 0]])
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], range(6))
    assert data.images.dtype == np.uint8


def test_partners_are_drawn_uniformly_from_the_images_class_including_itself():
    labels = np.array([1, 0, 1, 1, 0, 2])
    data, draws = labelled(labels, 3), 600
    indices = np.repeat(np.arange(6), draws)
    partners = np.asarray(jax.jit(sampling.same_class_partners)(jax.random.key(0), data, indices))
    np.testing.assert_array_equal(labels[partners], labels[indices])
    for index, label in enumerate(labels):
        members = np.flatnonzero(labels == label)
        counts = np.bincount(partners[indices == index], minlength=6)[members]
        assert np.all(np.abs(counts - draws / len(members)) < 60), f"image {index}: {counts}"  # 5 standard deviations


def test_images_of_a_batch_draw_their_partners_independently():
    data = labelled([0] * 10, 1)
    partners = np.asarray(sampling.same_class_partners(jax.random.key(0), data, jnp.zeros(30, int)))
    assert len(set(partners.tolist())) > 5


@pytest.mark.parametrize(("examples", "repeats", "batch_size"), [(4, 1, 2), (2, 2, 3), (3, 1, 2)])
def test_all_orders_of_an_epoch_are_equally_likely(examples, repeats, batch_size):
    plan = EpochPlan(examples, repeats, batch_size)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: plan.order(key)[0]))(keys))
    drawn = drawn.reshape(len(keys), -1)[:, : examples * repeats]
    orders, counts = np.unique(drawn, axis=0, return_counts=True)
    possible = set(itertools.permutations(list(range(examples)) * repeats))
    assert set(map(tuple, orders.tolist())) == possible
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_label_maps_of_different_numbers_of_segments_make_the_same_program_and_the_same_masks():
    def with_segments(labels):
        images, classes = np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1])
        maps = np.arange(128, dtype=np.uint8).reshape(2, 8, 8) % labels
        return sampling.to_device(images, classes, 2, maps)

    few, more = with_segments(5), with_segments(7)
    assert jax.tree.structure(few) == jax.tree.structure(more)
    exact, rounded = (
        masks.segment_partitions(jax.random.key(0), few.segments, 4, labels) for labels in (6, few.segment_labels)
    )
    np.testing.assert_array_equal(exact, rounded)


UNEQUAL = [0, 1, 1, 1, 1, 1, 2, 2]  # the classes of eight images


def test_class_weights_make_every_class_count_alike_and_are_one_on_average():
    weights = sampling.class_weights(labelled(UNEQUAL, 3))
    np.testing.assert_allclose(weights, [8 / 3, 8 / 15, 8 / 6], rtol=1e-6)
    np.testing.assert_allclose(np.mean(np.asarray(weights)[UNEQUAL]), 1, rtol=1e-6)


def test_balanced_draws_take_every_class_alike_and_its_images_alike():
    drawn = np.asarray(sampling.balanced_draws(jax.random.key(0), labelled(UNEQUAL, 3), 30_000))
    expected = np.array([10_000, *5 * [2_000], 5_000, 5_000])
    assert scipy.stats.chisquare(np.bincount(drawn, minlength=8), expected).pvalue > 1e-4
    assert (
        scipy.stats.chisquare(
            np.bincount(drawn[:-1] * 8 + drawn[1:], minlength=64), np.outer(expected, expected).ravel() * 29_999 / 9e8
        ).pvalue
        > 1e-4
    )


def test_a_class_without_images_is_never_drawn_and_takes_nothing_from_the_others():
    with_empty, without = labelled([0, 1, 1, 3, 3, 3], 4), labelled([0, 1, 1, 2, 2, 2], 3)
    drawn = [np.asarray(sampling.balanced_draws(jax.random.key(0), data, 3_000)) for data in (with_empty, without)]
    np.testing.assert_array_equal(*drawn)
    weights = np.asarray(sampling.class_weights(with_empty))
    np.testing.assert_allclose(weights, [2, 1, 0, 2 / 3], rtol=1e-6)
