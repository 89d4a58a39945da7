"""Shows people the part of a photo that a network sees, sharper than the network sees it, with heat maps over it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data.fitting import place_of
from chimeramix_jax.reporting import heat_maps

# In pixels: about the longer side of a picture that is looked at closely. Pages show it at about half of it, so that it
# is sharp on phones; the sizes of all pictures together decide how fast a page opens.
PICTURE_SIDE = 320


@dataclass(frozen=True)
class PhotoView:
    """The part of a photo that a network sees, in the photo's own proportions."""

    picture: Image.Image
    place: heat_maps.Place = heat_maps.WHOLE  # of that part in the square that the network sees

    @classmethod
    def of_photo(cls, photo: Image.Image, largest: int, side: int, fit: Fit) -> "PhotoView":
        """Returns the central square of a cropped photo, or else the whole photo.

        Args:
            photo: at its full size.
            largest: about how many pixels wide the picture is, or high if that is more.
            side: pixels per side of the square into which the photo is fitted.
            fit: how it is fitted into the square.
        """
        if fit == "crop":
            return cls(heat_maps.square_picture(photo, largest))
        left, top, right, bottom = place_of(photo.size, side, fit)
        return cls(heat_maps.whole_picture(photo, largest), (left / side, top / side, right / side, bottom / side))

    @classmethod
    def of_square(cls, square: Image.Image, largest: int) -> "PhotoView":
        """Returns a square as the network sees it, in place of a photo that is not there any more."""
        return cls(heat_maps.square_picture(square, largest))

    def overlaid(self, heat: Float[np.ndarray, "map_height map_width"]) -> Image.Image:
        """Returns the picture below a map of the square that the network sees."""
        return heat_maps.overlay(self.picture, heat, self.place)
