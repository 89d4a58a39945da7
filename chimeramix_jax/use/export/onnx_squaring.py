"""``squaring.squared`` as nodes of an ONNX graph, in whole numbers throughout.

Weights have 22 bits, which are multiplied in three parts: ``MatMulInteger`` takes bytes and returns exact sums.
"""

from dataclasses import dataclass

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data.fitting import GREY
from chimeramix_jax.use.export.onnx_graph import GraphBuilder
from chimeramix_jax.use.export.squaring import WEIGHT_BITS

_PARTS = 3  # of a weight, each a byte
_BYTE = 256


def squared(graph: GraphBuilder, images: str, side: int, fit: Fit = "crop") -> str:
    """Fits images into squares; returns the name of the result.

    Args:
        graph: gets the nodes.
        images: the name of bytes of shape (batch, 3, height, width); height and width may be known only at run time.
        side: pixels per side of the result, bytes of shape (batch, 3, side, side).
        fit: how images that are not square are fitted.
    """
    sizes = graph.node("Shape", images)
    height, width = (graph.node("Gather", sizes, graph.integers([axis])) for axis in (2, 3))
    across, down = (_Axis(graph, length, graph.integers([side])) for length in (width, height))
    if fit == "crop":
        shorter = graph.node("Min", height, width)
        columns, rows = (axis.weights(part=shorter, shown=axis.side, middles=axis.middles()) for axis in (across, down))
    elif fit == "stretch":
        columns, rows = (axis.weights(axis.length, axis.side, axis.middles()) for axis in (across, down))
    else:
        longer = graph.node("Max", height, width)
        shown = [axis.share_of_side(longer) for axis in (across, down)]
        middles = [axis.middles(of_shown) for axis, of_shown in zip((across, down), shown, strict=True)]
        columns, rows = (
            axis.weights(axis.length, *outputs) for axis, *outputs in zip((across, down), shown, middles, strict=True)
        )
    resized = _rounded(graph, graph.node("MatMulInteger", images, columns), axis=3)
    rows = graph.node("Transpose", rows, perm=[1, 0])
    resized = _rounded(graph, graph.node("MatMulInteger", rows, resized), axis=2)
    if fit != "pad":
        return resized
    in_columns, in_rows = (_are_shown(graph, *outputs) for outputs in zip(middles, shown, strict=True))
    visible = graph.node("And", graph.node("Reshape", in_rows, graph.integers([-1, 1])), in_columns)
    return graph.node("Where", visible, resized, graph.cast(graph.integers([GREY]), "UINT8"))


@dataclass(frozen=True)
class _Axis:
    """An axis of the images; all values are names of 64-bit integers in the graph."""

    graph: GraphBuilder
    length: str  # in pixels
    side: str  # of the result

    def share_of_side(self, longer: str) -> str:
        """Returns the pixels of the result that show the axis if the longer one fills the side; at least one."""
        graph, two = self.graph, self.graph.integers([2])
        doubled = graph.multiply(graph.multiply(two, self.length), self.side)
        share = graph.node("Div", graph.add(doubled, longer), graph.multiply(two, longer))
        return graph.node("Max", share, graph.integers([1]))

    def middles(self, shown: str | None = None) -> str:
        """Returns the middles of the result's pixels, in halves of one, from the first of the ``shown``; (1, side)."""
        middles = self._odd_numbers(self.side, [1, -1])
        if shown is None:
            return middles
        graph, two = self.graph, self.graph.integers([2])
        first = graph.node("Div", graph.node("Sub", self.side, shown), two)
        return graph.node("Sub", middles, graph.multiply(two, first))

    def weights(self, part: str, shown: str, middles: str) -> str:
        """Returns the weights of the pixels, bytes of shape (length, 3 * side), the highest bytes first.

        Those of the result's pixels that are not shown mean nothing.

        Args:
            part: how many pixels in the middle of the axis are resized.
            shown: how many pixels they become.
            middles: of the result's pixels.
        """
        graph, zero, one, two = self.graph, *(self.graph.integers([number]) for number in (0, 1, 2))
        places = graph.multiply(self._odd_numbers(self.length, [-1, 1]), shown)
        offset = graph.multiply(shown, graph.node("Sub", self.length, part))
        outputs = graph.multiply(middles, part)
        distance = graph.node("Abs", graph.node("Sub", graph.node("Sub", places, offset), outputs))
        highest = graph.multiply(two, graph.node("Max", part, shown))
        heights = graph.node("Max", graph.node("Sub", highest, distance), zero)
        total = graph.node("Max", graph.node("ReduceSum", heights, zero, keepdims=1), one)  # 0 if a pixel is not shown
        doubled = graph.multiply(heights, graph.integers([2 << WEIGHT_BITS]))
        weights = graph.node("Div", graph.add(doubled, total), graph.multiply(two, total))
        parts = [graph.node("Div", weights, graph.integers([_BYTE**power])) for power in reversed(range(_PARTS))]
        parts = [graph.node("Mod", part, graph.integers([_BYTE])) for part in parts]
        return graph.cast(graph.node("Concat", *parts, axis=1), "UINT8")

    def _odd_numbers(self, count: str, shape: list[int]) -> str:
        graph, zero, one, two = self.graph, *(self.graph.integers([number]) for number in (0, 1, 2))
        numbers = graph.node("Range", *(graph.node("Squeeze", number) for number in (zero, count, one)))
        return graph.node("Reshape", graph.add(graph.multiply(numbers, two), one), graph.integers(shape))


def _are_shown(graph: GraphBuilder, middles: str, shown: str) -> str:
    """Returns which of the result's pixels along an axis show the images; (1, side)."""
    after_the_first = graph.node("Greater", middles, graph.integers([0]))
    return graph.node("And", after_the_first, graph.node("Less", middles, graph.multiply(graph.integers([2]), shown)))


def _rounded(graph: GraphBuilder, sums: str, axis: int) -> str:
    """Returns the grey levels for sums of pixels times the parts of their weights, which follow along ``axis``."""
    total = graph.small_integer(1 << (WEIGHT_BITS - 1))
    for power, part in zip(reversed(range(_PARTS)), graph.split(sums, _PARTS, axis), strict=True):
        total = graph.add(total, graph.multiply(part, graph.small_integer(_BYTE**power)))
    levels = graph.node("Div", total, graph.small_integer(1 << WEIGHT_BITS))
    return graph.cast(levels, "UINT8")
