"""Where the data of a chart are in its SVG picture; the charts of all pages share this geometry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlotArea:
    """The size of a picture and the borders of the plotting area in it, in SVG units; y grows downwards."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, share: float) -> float:
        """Returns a position on the horizontal axis, given as a share of its length from the left."""
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, share: float) -> float:
        """Returns a position on the vertical axis, given as a share of its length from the bottom."""
        return round(self.bottom - share * (self.bottom - self.top), 1)


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in SVG units."""

    position: float
    text: str
