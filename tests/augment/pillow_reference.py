"""The augmentation operations as defined by Pillow's functions, called as torchvision calls them.

From torchvision's ``transforms/autoaugment.py`` and ``transforms/functional.py``: nearest neighbour, black outside.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from chimeramix_jax.augment import policies
from chimeramix_jax.augment.operations import Operation, apply

IMAGES = Path(__file__).parents[1] / "fixtures" / "segments.npz"
GEOMETRIC = (
    Operation.SHEAR_X,
    Operation.SHEAR_Y,
    Operation.TRANSLATE_X,
    Operation.TRANSLATE_Y,
    Operation.ROTATE,
)


def photographs(side):
    """Returns four photographs [4 side side 3] of side 32 or 64."""
    with np.load(IMAGES) as arrays:
        return arrays[f"images_{side}"]


def magnitudes(operation, side):
    """Returns the magnitudes of both policies' bins in float32, with both signs if the operation has two directions.

    Operations without a magnitude get as many numbers, which they must ignore.
    """
    tables = (policies.TRIVIAL_AUGMENT_MAGNITUDES, policies.auto_augment_magnitudes(side))
    bins = [table.get(operation, np.arange(count)) for table, count in zip(tables, (31, 10), strict=True)]
    opposite = 1 if operation in (Operation.POSTERIZE, Operation.SOLARIZE) else -1
    return np.concatenate([*bins, *(opposite * values for values in bins)]).astype(np.float32)


def expected(image, operation, magnitude):
    """Returns Pillow's result for an image [height width 3]."""
    return np.asarray(_PILLOW[operation](Image.fromarray(image), float(magnitude)))


def compare(operation, images):
    """Returns our and Pillow's images [magnitudes * images, side, side, 3]: each image at each magnitude."""
    strengths = magnitudes(operation, images.shape[1])
    ours = _apply(
        np.tile(images, (len(strengths), 1, 1, 1)),
        np.full(len(strengths) * len(images), operation),
        np.repeat(strengths, len(images)),
    )
    pillow = [expected(image, operation, strength) for strength in strengths for image in images]
    return np.asarray(ours), np.stack(pillow)


_apply = jax.jit(apply)


def _affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))


def _shear_x(image, magnitude):
    return _affine(image, (1, _shear_via_degrees(magnitude), 0, 0, 1, 0))


def _shear_y(image, magnitude):
    return _affine(image, (1, 0, 0, _shear_via_degrees(magnitude), 1, 0))


def _shear_via_degrees(magnitude):
    """Returns the shear as torchvision computes it: the tangent of an angle in degrees."""
    return math.tan(math.radians(math.degrees(math.atan(magnitude))))


def _translate_x(image, magnitude):
    return _affine(image, (1, 0, -int(magnitude), 0, 1, 0))


def _translate_y(image, magnitude):
    return _affine(image, (1, 0, 0, 0, 1, -int(magnitude)))


def _enhance(enhancement, image, magnitude):
    return enhancement(image).enhance(1 + magnitude)


_PILLOW: dict[Operation, Callable[..., Image.Image]] = {
    Operation.IDENTITY: lambda image, _: image,
    Operation.SHEAR_X: _shear_x,
    Operation.SHEAR_Y: _shear_y,
    Operation.TRANSLATE_X: _translate_x,
    Operation.TRANSLATE_Y: _translate_y,
    Operation.ROTATE: lambda image, degrees: image.rotate(degrees, Image.Resampling.NEAREST, fillcolor=(0, 0, 0)),
    Operation.BRIGHTNESS: partial(_enhance, ImageEnhance.Brightness),
    Operation.COLOR: partial(_enhance, ImageEnhance.Color),
    Operation.CONTRAST: partial(_enhance, ImageEnhance.Contrast),
    Operation.SHARPNESS: partial(_enhance, ImageEnhance.Sharpness),
    Operation.POSTERIZE: lambda image, bits: ImageOps.posterize(image, int(bits)),
    Operation.SOLARIZE: ImageOps.solarize,
    Operation.AUTO_CONTRAST: lambda image, _: ImageOps.autocontrast(image),
    Operation.EQUALIZE: lambda image, _: ImageOps.equalize(image),
    Operation.INVERT: lambda image, _: ImageOps.invert(image),
}
