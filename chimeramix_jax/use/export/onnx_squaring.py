"""``squaring.squared`` as nodes of an ONNX graph, in whole numbers throughout.

Weights have 22 bits, which are multiplied in three parts: ``MatMulInteger`` takes bytes and returns exact sums.
"""

from chimeramix_jax.use.export.onnx_graph import GraphBuilder
from chimeramix_jax.use.export.squaring import WEIGHT_BITS

_PARTS = 3  # of a weight, each a byte
_BYTE = 256


def squared(graph: GraphBuilder, images: str, side: int) -> str:
    """Crops the largest central square of images and resizes it; returns the name of the result.

    Args:
        graph: gets the nodes.
        images: the name of bytes of shape (batch, 3, height, width); height and width may be known only at run time.
        side: pixels per side of the result, bytes of shape (batch, 3, side, side).
    """
    sizes = graph.node("Shape", images)
    height, width = (graph.node("Gather", sizes, graph.integers([axis])) for axis in (2, 3))
    square = graph.node("Min", height, width)
    columns, rows = (_weights(graph, length, square, side) for length in (width, height))
    resized = _rounded(graph, graph.node("MatMulInteger", images, columns), axis=3)
    rows = graph.node("Transpose", rows, perm=[1, 0])
    return _rounded(graph, graph.node("MatMulInteger", rows, resized), axis=2)


def _weights(graph: GraphBuilder, length: str, square: str, side: int) -> str:
    """Returns the weights of the pixels along an axis, bytes of shape (length, 3 * side), the highest bytes first."""
    zero, one, two, sides = (graph.integers([number]) for number in (0, 1, 2, side))

    def odd_numbers(count: str, shape: list[int]) -> str:
        numbers = graph.node("Range", *(graph.node("Squeeze", number) for number in (zero, count, one)))
        return graph.node("Reshape", graph.add(graph.multiply(numbers, two), one), graph.integers(shape))

    places = graph.multiply(odd_numbers(length, [-1, 1]), sides)
    outputs = graph.multiply(odd_numbers(sides, [1, -1]), square)
    offset = graph.multiply(sides, graph.node("Sub", length, square))
    distance = graph.node("Abs", graph.node("Sub", graph.node("Sub", places, offset), outputs))
    highest = graph.multiply(two, graph.node("Max", square, sides))
    heights = graph.node("Max", graph.node("Sub", highest, distance), zero)
    total = graph.node("ReduceSum", heights, zero, keepdims=1)
    doubled = graph.multiply(heights, graph.integers([2 << WEIGHT_BITS]))
    weights = graph.node("Div", graph.add(doubled, total), graph.multiply(two, total))
    parts = [graph.node("Div", weights, graph.integers([_BYTE**power])) for power in reversed(range(_PARTS))]
    parts = [graph.node("Mod", part, graph.integers([_BYTE])) for part in parts]
    return graph.cast(graph.node("Concat", *parts, axis=1), "UINT8")


def _rounded(graph: GraphBuilder, sums: str, axis: int) -> str:
    """Returns the grey levels for sums of pixels times the parts of their weights, which follow along ``axis``."""
    total = graph.small_integer(1 << (WEIGHT_BITS - 1))
    for power, part in zip(reversed(range(_PARTS)), graph.split(sums, _PARTS, axis), strict=True):
        total = graph.add(total, graph.multiply(part, graph.small_integer(_BYTE**power)))
    levels = graph.node("Div", total, graph.small_integer(1 << WEIGHT_BITS))
    return graph.cast(levels, "UINT8")
