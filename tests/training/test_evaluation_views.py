"""The views that evaluation averages over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.augment.geometry import RandomViews, ViewDraw, normalize
from chimeramix_jax.config import load
from chimeramix_jax.training.evaluation_views import EvaluationViews


@pytest.mark.parametrize("mirror", [False, True])
def test_the_views_are_views_that_training_can_draw(mirror):
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)
    drawn = []
    for shift in ((0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2)):
        for flip in (False, True)[: 1 + mirror]:
            draw = ViewDraw(jnp.tile(jnp.array(shift)[:, None], 2), jnp.full(2, flip))
            drawn.append(RandomViews(4, mirror).images(draw, jnp.asarray(images), jnp.arange(2)))
    views = EvaluationViews(shift=2, mirror=mirror)
    seen = list(jax.jit(lambda images: list(views(images)))(normalize(jnp.asarray(images))))
    assert views.count == len(seen) == len(drawn)
    np.testing.assert_array_equal(np.stack(seen), np.stack(drawn))


@pytest.mark.parametrize(("fraction", "shift"), [(0.125, 2), (0.25, 4), (1 / 32, 1)])
def test_crops_are_shifted_by_half_of_the_largest_shift_in_training(fraction, shift):
    config = load("image_folder")
    config.augment.crop_padding_fraction = fraction
    assert EvaluationViews.of(config) == EvaluationViews(shift, mirror=True)
    config.evaluation.crops = 1
    assert EvaluationViews.of(config) == EvaluationViews(0, mirror=True)
