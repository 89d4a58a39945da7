"""Compares segments of views cropped from their image's canvas (``data/segments.py``) with segments made as published.

    python -m benchmarks.segment_views
    python -m benchmarks.segment_views --images FOLDER_OR_ZIP --count 300

The published program segments every view again. Prints, for random views of real images and each working size,

- the number of segments in a view; "counted" are ours with at least the segmentation's ``min_size`` pixels in the view,
- how well the two label maps of a view agree: the Rand index (the share of pixel pairs for which both maps agree
  whether the pair is in one segment), the Rand index adjusted for chance, and the overlap of each published segment
  with the best matching segment of ours (intersection over union, weighted by area),
- the area that random masks keep of image a: its mean, its standard deviation, and the Kolmogorov-Smirnov distance
  between ours and published (the largest difference of their distribution functions), both with only the counted
  segments numbered and with all.

For scale it also prints how well the published map agrees with the published map of the view without its first column,
and the distance between the areas of two sets of masks drawn from the same published maps.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8
from sklearn.metrics import adjusted_rand_score, rand_score

from benchmarks import real_images
from chimeramix_jax.augment.geometry import RandomViews
from chimeramix_jax.data.segments import FelzenszwalbSettings, felzenszwalb_labels, label_maps
from chimeramix_jax.mixing.masks import segment_masks
from chimeramix_jax.models.sides import ENCODER_STRIDE

LabelMaps = Int[np.ndarray, "views side side"]


@dataclass(frozen=True)
class Agreement:
    """How well two sets of label maps of the same views agree, on average; 1 is perfect."""

    rand: float
    adjusted_rand: float
    overlap: float


@dataclass(frozen=True)
class Comparison:
    """The measurements on one set of views; see the module's docstring.

    ``areas_ours`` and ``areas_published`` are the shares of a mask that are 1, one number per drawn mask.
    """

    segments_ours: float
    segments_counted: float
    segments_published: float
    agreement: Agreement
    agreement_of_narrower: Agreement
    areas_ours: Float[np.ndarray, "masks"]
    areas_published: Float[np.ndarray, "masks"]
    distance: float
    distance_if_all_counted: float
    distance_by_chance: float


def main() -> None:
    """Prints a column per working size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder or zip of images (default: pieces of two photos)")
    parser.add_argument("--count", type=int, default=300, help="how many images")
    parser.add_argument("--views", type=int, default=2, help="how many views of each image")
    parser.add_argument("--masks", type=int, default=20, help="how many masks of each view")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64], help="working sizes, in pixels")
    parser.add_argument("--scale", type=float, default=60, help="Felzenszwalb's scale")
    parser.add_argument("--min-size", type=int, default=60, help="minimum size of a segment, in pixels")
    arguments = parser.parse_args()
    settings = FelzenszwalbSettings(arguments.scale, arguments.min_size)
    images = {side: real_images.load(arguments.images, arguments.count, side) for side in arguments.sides}
    shown = [rows(compare(images[side], settings, arguments.views, arguments.masks)) for side in arguments.sides]
    number = len(images[arguments.sides[0]])
    print(f"python {sys.version.split()[0]}, {number} images, {number * arguments.views} views, {settings}")
    print(f"{'side':58}" + "".join(f"{side:>24}" for side in arguments.sides))
    for name in shown[0]:
        print(f"{name:58}" + "".join(f"{column[name]:>24}" for column in shown))


def rows(result: Comparison) -> dict[str, str]:
    """Returns the figures as a table shows them."""
    ours, published = result.areas_ours, result.areas_published
    same, narrower = result.agreement, result.agreement_of_narrower
    segments = (result.segments_ours, result.segments_counted, result.segments_published)
    distances = (result.distance, result.distance_if_all_counted, result.distance_by_chance)
    return {
        "segments per view: ours / counted / published": " / ".join(f"{number:.1f}" for number in segments),
        "Rand index: ours / a column less": f"{same.rand:.3f} / {narrower.rand:.3f}",
        "adjusted Rand index: ours / a column less": f"{same.adjusted_rand:.3f} / {narrower.adjusted_rand:.3f}",
        "best-fitting segments' overlap: ours / a column less": f"{same.overlap:.3f} / {narrower.overlap:.3f}",
        "kept area, mean: ours / published": f"{ours.mean():.3f} / {published.mean():.3f}",
        "kept area, standard deviation: ours / published": f"{ours.std():.3f} / {published.std():.3f}",
        "distance of kept areas: ours / all counted / by chance": " / ".join(f"{number:.3f}" for number in distances),
    }


def compare(
    images: UInt8[np.ndarray, "examples side side 3"], settings: FelzenszwalbSettings, views: int, masks: int
) -> Comparison:
    """Compares our segments with published ones on ``views`` views of each image and ``masks`` masks of each view."""
    padding = images.shape[1] // 8
    ours, pictures = (np.asarray(one) for one in draw_views(images, label_maps(images, settings, padding, None), views))
    published = np.stack([felzenszwalb_labels(picture, settings) for picture in pictures])
    narrower = np.stack([felzenszwalb_labels(picture[:, 1:], settings) for picture in pictures])
    areas_ours, areas_all, areas_published, areas_again = (
        kept_areas(jax.random.key(seed), maps, masks, min_size)
        for seed, (maps, min_size) in enumerate([(ours, settings.min_size), (ours, 1), (published, 1), (published, 1)])
    )
    return Comparison(
        segments_ours=segments_per_view(ours, 1),
        segments_counted=segments_per_view(ours, settings.min_size),
        segments_published=segments_per_view(published, 1),
        agreement=agreement(ours, published),
        agreement_of_narrower=agreement(narrower, published[:, :, 1:]),
        areas_ours=areas_ours,
        areas_published=areas_published,
        distance=distance(areas_ours, areas_published),
        distance_if_all_counted=distance(areas_all, areas_published),
        distance_by_chance=distance(areas_again, areas_published),
    )


@partial(jax.jit, static_argnums=2)
def draw_views(
    images: UInt8[Array, "examples side side 3"], canvases: Int[Array, "examples canvas canvas"], number: int
) -> tuple[Int[Array, "views side side"], Float[Array, "views side side 3"]]:
    """Returns label maps and pictures of ``number`` random views of each image."""
    views = RandomViews((canvases.shape[1] - images.shape[1]) // 2, horizontal_flip=True)
    indices = jnp.tile(jnp.arange(len(images)), number)
    draw = views.draw(jax.random.key(0), len(indices))
    return views.labels(draw, canvases, indices), views.images(draw, images, indices)


def segments_per_view(maps: LabelMaps, min_size: int) -> float:
    """Returns the mean number of segments with at least ``min_size`` pixels."""
    return float(np.mean([np.sum(np.bincount(one.ravel()) >= max(min_size, 1)) for one in maps]))


def kept_areas(key: PRNGKeyArray, maps: LabelMaps, masks: int, min_size: int) -> Float[np.ndarray, "masks"]:
    """Returns the shares of image a that ``masks`` random masks of each map keep."""
    side, most = maps.shape[1] // ENCODER_STRIDE, int(maps.max()) + 1
    draw = jax.jit(partial(segment_masks, side=side, max_segments=most, min_size=min_size))
    on_device = jnp.asarray(maps)
    return np.concatenate(
        [np.asarray(draw(one, on_device)).mean(axis=(1, 2, 3)) for one in jax.random.split(key, masks)]
    )


def distance(areas: Float[np.ndarray, "masks"], others: Float[np.ndarray, "masks"]) -> float:
    """Returns the Kolmogorov-Smirnov distance of two samples: 0 for equal distributions, 1 if they do not overlap."""
    return float(scipy.stats.ks_2samp(areas, others).statistic)


def agreement(maps: LabelMaps, published: LabelMaps) -> Agreement:
    """Returns the mean agreement of pairs of label maps."""
    pairs = [(one.ravel(), other.ravel()) for one, other in zip(maps, published, strict=True)]
    return Agreement(
        rand=float(np.mean([rand_score(other, one) for one, other in pairs])),
        adjusted_rand=float(np.mean([adjusted_rand_score(other, one) for one, other in pairs])),
        overlap=float(np.mean([best_overlap(one, other) for one, other in pairs])),
    )


def best_overlap(labels: Int[np.ndarray, "pixels"], published: Int[np.ndarray, "pixels"]) -> float:
    """Returns the published segments' mean intersection over union with their best match, weighted by area."""
    common = np.zeros((published.max() + 1, labels.max() + 1))
    np.add.at(common, (published, labels), 1)
    areas, other_areas = common.sum(axis=1), common.sum(axis=0)
    overlaps = common / np.maximum(areas[:, None] + other_areas - common, 1)
    return float(np.average(overlaps.max(axis=1), weights=areas))


if __name__ == "__main__":
    main()
