from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from chimeramix_jax.models import convolution

NHWC = ("NHWC", "HWIO", "NHWC")

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere every convolution is XLA's own")

# kernel side, stride, padding, channels in and out, image height and width; outputs as wide as a multiple of the blocks
# (8 pixels for wide kernels, 2 for others) and not.
OURS = {
    "stem": (7, 1, ((0, 0), (0, 0)), 3, 8, (14, 14)),
    "stem, incomplete block": (7, 1, ((0, 0), (0, 0)), 3, 8, (11, 13)),
    "stem, narrower than a block": (7, 1, ((0, 0), (0, 0)), 3, 8, (8, 9)),
    "to image": (7, 1, ((0, 0), (0, 0)), 8, 3, (14, 22)),
    "to image, incomplete block": (7, 1, ((0, 0), (0, 0)), 8, 3, (9, 17)),
    "residual": (3, 1, ((1, 1), (1, 1)), 4, 4, (6, 6)),
    "residual, incomplete block": (3, 1, ((1, 1), (1, 1)), 4, 5, (6, 7)),
    "fewer channels out": (3, 1, ((1, 1), (1, 1)), 5, 2, (5, 7)),
    "halving": (3, 2, ((1, 1), (1, 1)), 3, 6, (8, 8)),
    "halving, odd side": (3, 2, ((1, 1), (1, 1)), 3, 6, (7, 9)),
    "discriminator": (4, 2, ((1, 1), (1, 1)), 3, 6, (8, 8)),
    "discriminator, fewer channels out": (4, 2, ((1, 1), (1, 1)), 6, 2, (8, 10)),
    "score": (4, 1, ((1, 1), (1, 1)), 6, 1, (4, 5)),
    "projection": (1, 1, ((0, 0), (0, 0)), 4, 6, (4, 5)),
    "halving projection": (1, 2, ((0, 0), (0, 0)), 4, 6, (6, 6)),
    "halving projection, odd side": (1, 2, ((0, 0), (0, 0)), 4, 6, (5, 7)),
    "one-sided padding": (4, 1, ((2, 1), (0, 3)), 3, 4, (5, 6)),
    "one-sided padding, halving": (3, 2, ((0, 1), (1, 0)), 3, 4, (6, 7)),
}

UNUSUAL = {
    "groups": {"feature_group_count": 2, "window_strides": (1, 1), "padding": ((1, 1), (1, 1))},
    "dilated kernel": {"rhs_dilation": (2, 2), "window_strides": (1, 1), "padding": ((0, 0), (0, 0))},
    "dilated input": {"lhs_dilation": (2, 2), "window_strides": (1, 1), "padding": ((1, 1), (1, 1))},
    "named padding": {"window_strides": (2, 2), "padding": "SAME"},
    "unlike strides": {"window_strides": (2, 1), "padding": ((1, 1), (0, 0))},
    "type of the sums": {"window_strides": (1, 1), "padding": ((1, 1), (1, 1)), "preferred_element_type": jnp.float32},
}


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def precision(request):
    """The dtype to compute in, and the largest difference relative to the largest value."""
    with jax.enable_x64(request.param):
        yield (jnp.float64, 1e-12) if request.param else (jnp.float32, 1e-5)


def value_and_gradients(convolve, images, kernel):
    """The convolution's value and the gradients that a random cotangent of it has."""

    @jax.jit
    def compute(images, kernel):
        value, pull_back = jax.vjp(convolve, images, kernel)
        cotangent = jax.random.normal(jax.random.key(2), value.shape, value.dtype)
        return value, *pull_back(cotangent)

    return dict(zip(("value", "input gradient", "kernel gradient"), compute(images, kernel), strict=True))


def operands(image_shape, kernel_shape, dtype):
    images = jax.random.normal(jax.random.key(0), image_shape, dtype)
    return images, jax.random.normal(jax.random.key(1), kernel_shape, dtype)


def assert_equal_to_xla(images, kernel, tolerance, **settings):
    ours = value_and_gradients(partial(convolution.conv_general_dilated, **settings), images, kernel)
    xla = value_and_gradients(partial(lax.conv_general_dilated, **settings), images, kernel)
    for name, expected in xla.items():
        assert ours[name].dtype == expected.dtype, name
        atol = tolerance * float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", OURS)
def test_a_convolution_of_the_models_equals_xla_in_value_and_both_gradients(case, precision):
    side, stride, padding, in_channels, out_channels, image_sides = OURS[case]
    dtype, tolerance = precision
    images, kernel = operands((2, *image_sides, in_channels), (side, side, in_channels, out_channels), dtype)
    assert_equal_to_xla(
        images, kernel, tolerance, window_strides=(stride, stride), padding=padding, dimension_numbers=NHWC
    )


@pytest.mark.parametrize("case", UNUSUAL)
def test_a_convolution_with_unusual_settings_equals_xla_in_value_and_both_gradients(case):
    settings = UNUSUAL[case]
    groups = settings.get("feature_group_count", 1)
    images, kernel = operands((2, 6, 7, 4), (3, 3, 4 // groups, 4), jnp.float32)
    assert_equal_to_xla(images, kernel, 1e-5, dimension_numbers=NHWC, **settings)


@pytest.mark.parametrize("case", ["groups", "dilated kernel", "dilated input", "named padding", "type of the sums"])
def test_unusual_settings_are_left_to_xla(case, monkeypatch):
    monkeypatch.delattr(convolution, "_convolve_valid")
    settings = UNUSUAL[case]
    images, kernel = operands((1, 6, 6, 4), (3, 3, 4 // settings.get("feature_group_count", 1), 4), jnp.float32)
    convolution.conv_general_dilated(images, kernel, dimension_numbers=NHWC, **settings)


def test_a_layer_takes_it_as_its_convolution_and_trains_as_with_xla():
    def gradients(**settings):
        layer = nnx.Conv(3, 5, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), rngs=nnx.Rngs(0), **settings)
        images = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
        return nnx.to_pure_dict(nnx.grad(lambda layer: jnp.sum(jnp.square(layer(images))))(layer))

    ours, xla = gradients(conv_general_dilated=convolution.conv_general_dilated), gradients()
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours[name], xla[name], rtol=1e-4, atol=1e-4, err_msg=name)
