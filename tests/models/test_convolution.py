from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from chimeramix_jax.models import convolution
from chimeramix_jax.models.layers import convolution_layer
from chimeramix_jax.runtime import backend

NHWC = ("NHWC", "HWIO", "NHWC")

pytestmark = pytest.mark.skipif(backend.on_accelerator(), reason="only CPU has convolutions of our own")

# Kernel side, stride, padding, channels in and out, image height and width.
OURS = {
    "stem": (7, 1, ((0, 0), (0, 0)), 3, 8, (14, 14)),
    "stem, odd sides": (7, 1, ((0, 0), (0, 0)), 3, 8, (9, 15)),
    "stem, zero padding": (7, 1, ((3, 3), (2, 3)), 3, 8, (8, 9)),
    "to image": (7, 1, ((0, 0), (0, 0)), 8, 3, (14, 18)),
    "to image, odd side": (7, 1, ((0, 0), (0, 0)), 8, 3, (9, 22)),
    "to image, many channels": (7, 1, ((0, 0), (0, 0)), 20, 3, (10, 13)),
    "to image, few pixels": (7, 1, ((0, 0), (0, 0)), 8, 3, (8, 9)),
    "residual": (3, 1, ((1, 1), (1, 1)), 4, 4, (6, 6)),
    "residual, odd side": (3, 1, ((1, 1), (1, 1)), 4, 5, (6, 7)),
    "fewer channels out": (3, 1, ((1, 1), (1, 1)), 5, 2, (5, 7)),
    "halving": (3, 2, ((1, 1), (1, 1)), 3, 6, (8, 8)),
    "halving, odd side": (3, 2, ((1, 1), (1, 1)), 3, 6, (7, 9)),
    "discriminator": (4, 2, ((1, 1), (1, 1)), 3, 6, (8, 8)),
    "discriminator, fewer channels out": (4, 2, ((1, 1), (1, 1)), 6, 2, (8, 10)),
    "few pixels": (4, 2, ((1, 1), (1, 1)), 3, 6, (6, 4)),
    "score": (4, 1, ((1, 1), (1, 1)), 6, 1, (4, 5)),
    "projection": (1, 1, ((0, 0), (0, 0)), 4, 6, (4, 5)),
    "halving projection": (1, 2, ((0, 0), (0, 0)), 4, 6, (5, 6)),
    "one-sided padding": (4, 1, ((2, 1), (0, 3)), 3, 4, (5, 6)),
    "one-sided padding, halving": (3, 2, ((0, 1), (1, 0)), 3, 4, (6, 7)),
}
ALSO_IN_FLOAT64 = (
    "stem, odd sides",
    "to image",
    "to image, many channels",
    "residual, odd side",
    "halving, odd side",
    "discriminator",
)

UNUSUAL = {
    "groups": {"feature_group_count": 2, "window_strides": (1, 1), "padding": ((1, 1), (1, 1))},
    "dilated kernel": {"rhs_dilation": (2, 2), "window_strides": (1, 1), "padding": ((0, 0), (0, 0))},
    "dilated input": {"lhs_dilation": (2, 2), "window_strides": (1, 1), "padding": ((1, 1), (1, 1))},
    "padding by name": {"window_strides": (2, 2), "padding": "SAME"},
    "different strides": {"window_strides": (2, 1), "padding": ((1, 1), (0, 0))},
    "sums' dtype": {
        "window_strides": (1, 1),
        "padding": ((1, 1), (1, 1)),
        "preferred_element_type": jnp.float32,
    },
}


def random_array(shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def operands(image_shape, kernel_shape, dtype):
    return random_array(image_shape, dtype), random_array(kernel_shape, dtype, seed=1)


def value_and_gradients(convolve, images, kernel):
    """Returns the convolution's value and its gradients for a random cotangent."""
    value, pull_back = jax.vjp(convolve, images, kernel)
    input_gradient, kernel_gradient = pull_back(random_array(value.shape, value.dtype, seed=2))
    return {"value": value, "input gradient": input_gradient, "kernel gradient": kernel_gradient}


def assert_equal_to_xla(images, kernel, tolerance, **settings):
    """Compares with XLA; ``tolerance`` bounds the largest difference relative to the largest value."""

    @jax.jit
    def both(images, kernel):
        functions = convolution.conv_general_dilated, lax.conv_general_dilated
        return [value_and_gradients(partial(function, **settings), images, kernel) for function in functions]

    ours, xla = both(images, kernel)
    for name, expected in xla.items():
        assert ours[name].dtype == expected.dtype == images.dtype, name
        atol = tolerance * float(np.max(np.abs(expected)))
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("case", "double"), [(case, False) for case in OURS] + [(case, True) for case in ALSO_IN_FLOAT64]
)
def test_a_convolution_of_the_models_equals_xla_in_value_and_both_gradients(case, double):
    side, stride, padding, in_channels, out_channels, image_sides = OURS[case]
    with jax.enable_x64(double):
        images, kernel = operands(
            (2, *image_sides, in_channels),
            (side, side, in_channels, out_channels),
            np.float64 if double else np.float32,
        )
        assert_equal_to_xla(
            images,
            kernel,
            1e-12 if double else 1e-5,
            window_strides=(stride, stride),
            padding=padding,
            dimension_numbers=NHWC,
        )


@pytest.mark.parametrize("case", UNUSUAL)
def test_a_convolution_with_unusual_settings_equals_xla_in_value_and_both_gradients(case):
    settings = UNUSUAL[case]
    groups = settings.get("feature_group_count", 1)
    images, kernel = operands((2, 6, 7, 4), (3, 3, 4 // groups, 4), jnp.float32)
    assert_equal_to_xla(images, kernel, 1e-5, dimension_numbers=NHWC, **settings)


@pytest.mark.parametrize("case", ["groups", "dilated kernel", "dilated input", "padding by name", "sums' dtype"])
def test_unusual_settings_are_left_to_xla(case, monkeypatch):
    monkeypatch.delattr(convolution, "_convolve_on_cpu")
    settings = UNUSUAL[case]
    images, kernel = operands((1, 6, 6, 4), (3, 3, 4 // settings.get("feature_group_count", 1), 4), jnp.float32)
    with pytest.raises(NameError, match="_convolve_on_cpu"):  # usual settings need what is missing
        usual = jnp.zeros((3, 3, 4, 4), jnp.float32)
        convolution.conv_general_dilated(images, usual, (1, 1), ((1, 1), (1, 1)), dimension_numbers=NHWC)
    convolution.conv_general_dilated(images, kernel, dimension_numbers=NHWC, **settings)


def test_a_flax_layer_accepts_the_convolution_and_has_the_gradients_of_xlas():
    def gradients(**settings):
        layer = nnx.Conv(3, 5, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), rngs=nnx.Rngs(0), **settings)
        gradient = nnx.jit(nnx.grad(lambda layer, images: jnp.sum(jnp.square(layer(images)))))
        return nnx.to_pure_dict(gradient(layer, random_array((2, 7, 8, 3))))

    ours, xla = gradients(conv_general_dilated=convolution.conv_general_dilated), gradients()
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours[name], xla[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_pixelwise_product_has_the_gradients_of_a_matrix_product():
    images, matrix = operands((2, 3, 4, 5), (5, 6), jnp.float32)
    ours = value_and_gradients(convolution.pixelwise_product, images, matrix)
    for name, expected in value_and_gradients(jnp.matmul, images, matrix).items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-5, err_msg=name)


def test_the_gradient_of_a_narrowed_kernel_is_the_same_on_every_backend_and_ordered_only_on_accelerators(monkeypatch):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 8)), jnp.float32)
    layer = convolution_layer(8, 5, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    found, barriers = [], []
    for accelerator in (False, True):
        monkeypatch.setattr(backend, "on_accelerator", lambda accelerator=accelerator: accelerator)
        gradient = nnx.grad(lambda layer: jnp.sum(layer(images).astype(jnp.float32) ** 2))
        found.append(gradient(layer)["kernel"][...])
        graph, parameters = nnx.split(layer)
        program = jax.make_jaxpr(lambda state, graph=graph, of=gradient: of(nnx.merge(graph, state)))(parameters)
        barriers.append("optimization_barrier" in str(program))
    assert barriers == [False, True] and found[0].dtype == jnp.float32
    np.testing.assert_array_equal(*found)
