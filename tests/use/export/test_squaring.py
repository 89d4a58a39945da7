"""Cropping and resizing inside exported files, beside Pillow's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from onnx import TensorProto, helper
from PIL import Image

from chimeramix_jax.data import fitting
from chimeramix_jax.use.export import onnx_file, onnx_squaring, squaring
from chimeramix_jax.use.export.onnx_graph import GraphBuilder

# JAX compiles for each of them.
SIZES = ((1, 1), (32, 32), (31, 60), (41, 40), (100, 99), (77, 203), (240, 320))
TALL_AND_NARROW = ((203, 60), (3, 150), (90, 1))


def by_jax(side, fit="crop"):
    height, width = export.symbolic_shape("height, width")
    shape = jax.ShapeDtypeStruct((2, height, width, 3), jnp.uint8)
    return jax.jit(export.export(jax.jit(lambda images: squaring.squared(images, side, fit)))(shape).call)


def by_onnx(side, fit="crop"):
    graph = GraphBuilder()
    resized = onnx_squaring.squared(graph, graph.node("Transpose", onnx_file.INPUT, perm=[0, 3, 1, 2]), side, fit)
    graph.rename(graph.node("Transpose", resized, perm=[0, 2, 3, 1]), onnx_file.OUTPUT)
    images = helper.make_tensor_value_info(onnx_file.INPUT, TensorProto.UINT8, ["batch", "height", "width", 3])
    squares = helper.make_tensor_value_info(onnx_file.OUTPUT, TensorProto.UINT8, ["batch", side, side, 3])
    return onnx_file.runner(graph.model([images], [squares], "test").SerializeToString())


def differences(resize, side, height, width, fit="crop"):
    """How many grey levels each pixel of two images differs from Pillow's."""
    images = np.random.default_rng([height, width]).integers(0, 256, (2, height, width, 3), np.uint8)
    expected = np.stack([fitting.squared(Image.fromarray(image), side, fit) for image in images])
    actual = np.asarray(resize(images))
    assert actual.dtype == np.uint8
    return np.abs(actual.astype(int) - expected)


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("make", [by_jax, by_onnx])
def test_pixels_equal_pillows(make, side):
    resize = make(side)
    for height, width in SIZES:
        if height <= max(side, 2 * width - side):  # Pillow 13 resizes the rows of taller images first
            assert differences(resize, side, height, width).max() == 0, (height, width)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("make", [by_jax, by_onnx])
def test_pixels_of_whole_photos_equal_pillows_whatever_their_shape(make, fit):
    resize = make(32, fit)
    for height, width in (*SIZES, *TALL_AND_NARROW):
        assert differences(resize, 32, height, width, fit).max() == 0, (height, width)


@pytest.mark.parametrize("make", [by_jax, by_onnx])
def test_of_tall_images_they_differ_by_one_level_at_most(make):
    assert differences(make(32), 32, 200, 70).max() <= 1


def test_in_onnx_they_equal_pillows_for_large_photos_too():
    for fit in ("crop", "pad", "stretch"):
        assert differences(by_onnx(32, fit), 32, 1500, 2003, fit).max() == 0
