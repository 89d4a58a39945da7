"""The views of an image over which a classifier's probabilities are averaged, in evaluation and in prediction.

Averaging over mirror images and over five crops is common in image classification (A. Krizhevsky, I. Sutskever and G.
Hinton, *ImageNet classification with deep convolutional neural networks*, NIPS 2012). There, the crops are smaller than
the image. Here, a crop has the image's size, as in training: it is cut from the image with reflected borders.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Array, Float
from ml_collections import ConfigDict

from chimeramix_jax.augment.geometry import RandomViews
from chimeramix_jax.models.padding import reflect_pad

_CENTRE, _CORNERS = (1, 1), ((0, 0), (0, 2), (2, 0), (2, 2))  # of a square of three by three shifts


@dataclass(frozen=True)
class EvaluationViews:
    """The views of an image that count alike; the image itself is always the first.

    With ``shift``, four more crops are shifted by so many pixels up or down and left or right. With ``mirror``, every
    crop is also seen mirrored left to right.
    """

    shift: int = 0
    mirror: bool = False

    @classmethod
    def of(cls, config: ConfigDict) -> "EvaluationViews":
        """Returns the views set in ``config.evaluation``.

        Crops are shifted by half as much as training shifts images at most, which is about the mean of its shifts.
        """
        padding = RandomViews.of(config.augment, config.classifier.image_side).padding
        return cls((padding + 1) // 2 if config.evaluation.crops > 1 else 0, config.evaluation.mirror)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The top left corners of the crops, row and column, in the image padded by ``shift`` on each side."""
        return [(row * self.shift, column * self.shift) for row, column in (_CENTRE, *(_CORNERS if self.shift else ()))]

    @property
    def count(self) -> int:
        """The number of views."""
        return len(self.corners) * (2 if self.mirror else 1)

    def __call__(self, images: Float[Array, "batch side side 3"]) -> Iterator[Float[Array, "batch side side 3"]]:
        """Yields the views of a batch one by one."""
        side, padded = images.shape[1], reflect_pad(images, self.shift) if self.shift else images
        for row, column in self.corners:
            crop = padded[:, row : row + side, column : column + side]
            yield crop
            if self.mirror:
                yield crop[:, :, ::-1]


ONLY_THE_IMAGE = EvaluationViews()
