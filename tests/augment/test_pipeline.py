"""The order in which a training image is augmented, checked on the resulting images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from chimeramix_jax.augment.geometry import RandomViews
from chimeramix_jax.augment.operations import Operation
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.augment.policies import Draws, Policy
from chimeramix_jax.data.sampling import to_device

SIDE, PADDING, COUNT = 8, 2, 60


class ShiftByThree(Policy):
    """A policy that moves every image three pixels to the right and fills with black."""

    def draw(self, key, batch_size, side):
        return Draws(jnp.full((batch_size, 1), Operation.TRANSLATE_X), jnp.full((batch_size, 1), 3.0))


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(1, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    return to_device(images, np.zeros(3, int), 1)


def augmented(data, indices, **settings):
    augmentation = Augmentation(RandomViews(PADDING, True), **settings)
    return np.asarray(jax.jit(augmentation)(jax.random.key(0), data, indices).images)


def test_a_policy_comes_before_the_crop_and_the_mirror(data):
    indices = np.arange(COUNT) % 3
    views = augmented(data, indices, policy=ShiftByThree("shift", ""))
    moved = np.zeros_like(data.images)
    moved[:, :, 3:] = np.asarray(data.images)[:, :, :-3]
    margins = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
    crops = sliding_window_view(np.pad(moved, margins, mode="reflect"), (SIDE, SIDE), axis=(1, 2))
    crops = np.moveaxis(crops, 3, -1) / 127.5 - 1
    for view, of_image in zip(views, crops[indices], strict=True):
        differences = [np.abs(of_image - seen).max(axis=(2, 3, 4)).min() for seen in (view, view[:, ::-1])]
        assert min(differences) < 1e-5


def test_erasing_comes_after_the_crop_and_cutout_last(data):
    indices = np.arange(COUNT) % 3
    plain = augmented(data, indices)
    views = augmented(data, indices, random_erasing_probability=1.0, cutout_side=4)
    grey = np.all(views == 0, axis=-1)  # neither a normalized grey level nor noise is 0
    changed = np.any(views != plain, axis=-1) & ~grey
    assert np.mean(changed.any(axis=(1, 2))) > 0.9
    for square in grey:  # complete, so no noise was drawn over it
        rows, columns = square.any(axis=1), square.any(axis=0)
        assert np.all(square == np.outer(rows, columns))
        assert 2 <= rows.sum() <= 4 and 2 <= columns.sum() <= 4
