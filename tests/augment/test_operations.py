import jax
import numpy as np
import pytest

from chimeramix_jax.augment.operations import Operation, apply
from tests.augment.pillow_reference import GEOMETRIC, compare, photographs

SMALL, ODD = photographs(32), photographs(64)[:2, 3:50, 9:56]


def extremes():
    """Returns images with degenerate tables: one level, two levels, a white pixel on black, few pixels per level."""
    images = np.zeros((4, 32, 32, 3), np.uint8)
    images[0] = 77
    images[1, :11] = (0, 200, 255)
    images[2, 5, 7] = 255
    images[3] = np.random.default_rng(0).integers(40, 210, (32, 32, 3))
    return images


@pytest.mark.parametrize("images", [SMALL, ODD, extremes()], ids=["32", "47", "extremes"])
@pytest.mark.parametrize("operation", Operation, ids=lambda operation: operation.name.lower())
def test_every_operation_equals_pillows_at_every_magnitude_in_both_directions(operation, images):
    ours, pillow = compare(operation, images)
    assert ours.dtype == np.uint8
    differences = np.abs(ours.astype(int) - pillow)
    if operation in GEOMETRIC:
        differing = (differences > 0).any(axis=-1).mean(axis=(1, 2))
        assert differing.max() <= 0.02
    else:
        assert differences.max() <= 1


def test_in_one_batch_each_image_gets_its_own_operation_at_its_own_magnitude():
    images = np.tile(SMALL[:1], (8, 1, 1, 1))
    operations = np.array([Operation.INVERT, Operation.IDENTITY, Operation.TRANSLATE_X, Operation.TRANSLATE_X] * 2)
    changed = jax.jit(apply)(images, operations, np.array([0, 0, 4.9, -4.9] * 2, np.float32))
    moved_right, moved_left = np.zeros((2, 32, 32, 3), np.uint8)
    moved_right[:, 4:], moved_left[:, :-4] = images[0, :, :-4], images[0, :, 4:]
    np.testing.assert_array_equal(changed, [255 - images[0], images[0], moved_right, moved_left] * 2)
