"""Segments of the training images, for masks that follow what an image shows.

The published program segments every augmented image afresh. Here each image is segmented once, on a canvas: the image
with the reflected pixels around it that a random crop can reach. A view's label map is then the same crop of the
canvas's, which a gather on the device makes; ``python -m benchmarks.segment_views`` measures how close that comes.

Nothing here imports JAX: the worker processes import this module, and would each wait for it.
"""

import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from jaxtyping import Float, Int, UInt, UInt8
from ml_collections import ConfigDict

from chimeramix_jax import files
from chimeramix_jax.reporting.progress import StageProgress

IMAGES_PER_WORKER = 1000  # five seconds' work at 64 pixels: with less, starting another process hardly pays


@dataclass(frozen=True)
class FelzenszwalbSettings:
    """What scikit-image's ``felzenszwalb`` takes. The published values are scale and min_size 60 for 32 to 64 pixels.

    Attributes:
        scale: the larger, the fewer and larger the segments; no unit.
        min_size: the fewest pixels that a segment may have; smaller ones are merged into a neighbour.
        sigma: standard deviation of the Gaussian blur before, in pixels.
    """

    scale: float
    min_size: int
    sigma: float = 0.8

    @classmethod
    def of(cls, settings: ConfigDict) -> "FelzenszwalbSettings":
        """What ``config.mixing`` asks for."""
        return cls(settings.segmentation_scale, settings.segmentation_min_size, settings.segmentation_sigma)

    def __post_init__(self) -> None:
        """Refuses values that the algorithm has no meaning for."""
        if not (self.scale > 0 and self.min_size >= 0 and self.sigma >= 0):
            raise ValueError(f"{self}: scale must be above 0, min_size and sigma at least 0")


def felzenszwalb_labels(
    image: Float[np.ndarray, "height width 3"], settings: FelzenszwalbSettings
) -> Int[np.ndarray, "height width"]:
    """The segments of an image in [-1, 1]: labels 0, 1, ... in the order in which a row by row reading meets them."""
    from skimage.segmentation import felzenszwalb  # takes 0.3 s, and a run that finds its label maps stored needs none

    return felzenszwalb(image, scale=settings.scale, sigma=settings.sigma, min_size=settings.min_size)


def label_maps(
    images: UInt8[np.ndarray, "examples side side 3"],
    settings: FelzenszwalbSettings,
    padding: int,
    cache_directory: Path | None,
    workers: int | None = None,
) -> UInt[np.ndarray, "examples canvas canvas"]:
    """Segments every image with its reflected surroundings, or reads what an earlier call with the same images stored.

    Args:
        images: in 0..255.
        settings: of the segmentation.
        padding: pixels on each side that random crops can reach beyond the image, so ``canvas = side + 2 * padding``.
        cache_directory: where label maps are stored, made if it is missing; None: nowhere.
        workers: processes that share the work; 1: this one alone; None: as many as cores, but few for few images.

    Returns:
        Labels from 0 without gaps in each map, in the smallest unsigned type that holds them all.

    Raises:
        ValueError: the images are no 8-bit RGB squares, or the padding is negative or as large as the image, which a
            reflection cannot fill.
        OSError: the label maps cannot be stored.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images: {images.dtype} {images.shape}, but they must be uint8 (examples, side, side, 3)")
    if not 0 <= padding < images.shape[1]:
        raise ValueError(f"padding: {padding} is not allowed; it must be from 0 to {images.shape[1] - 1}")
    if cache_directory is None:
        return _computed(images, settings, padding, workers)
    path = Path(cache_directory) / f"felzenszwalb-{_digest(images, settings, padding)}.npz"
    maps = _stored(path, len(images), images.shape[1] + 2 * padding)
    if maps is None:
        maps = _computed(images, settings, padding, workers)
        content = io.BytesIO()
        np.savez_compressed(content, label_maps=maps)
        files.write_bytes(path, content.getvalue())
    return maps


def _computed(
    images: UInt8[np.ndarray, "examples side side 3"],
    settings: FelzenszwalbSettings,
    padding: int,
    workers: int | None,
) -> UInt[np.ndarray, "examples canvas canvas"]:
    if workers is None:
        workers = min(joblib.cpu_count(), len(images) // IMAGES_PER_WORKER)
    # Joblib's processes are safe beside JAX's threads, and unlike those of concurrent.futures they do not run the
    # user's script again, which may do more than define things.
    parallel = joblib.Parallel(n_jobs=max(workers, 1), return_as="generator")
    canvas = images.shape[1] + 2 * padding
    maps = np.zeros((len(images), canvas, canvas), np.int64)
    with StageProgress("segmentation", len(images), unit="image") as progress:
        segmented = parallel(joblib.delayed(_segmented_canvas)(image, settings, padding) for image in images)
        for index, labels in enumerate(segmented):
            maps[index] = labels
            progress.update(index + 1)
    return maps.astype(np.min_scalar_type(maps.max(initial=0)))


def _segmented_canvas(
    image: UInt8[np.ndarray, "side side 3"], settings: FelzenszwalbSettings, padding: int
) -> Int[np.ndarray, "canvas canvas"]:
    canvas = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
    return felzenszwalb_labels(canvas.astype(np.float32) / 127.5 - 1, settings)


def _digest(images: UInt8[np.ndarray, "examples side side 3"], settings: FelzenszwalbSettings, padding: int) -> str:
    """Names what the label maps are of, and what made them."""
    version = importlib.metadata.version("scikit-image")
    digest = hashlib.sha256(f"{version} {settings} {padding} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:32]


def _stored(path: Path, examples: int, canvas: int) -> UInt[np.ndarray, "examples canvas canvas"] | None:
    """The label maps in a file; None if it is missing or damaged (the archive's checksums tell)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            maps = arrays["label_maps"]
    except Exception:  # damage has many faces (zip, zlib, NumPy, the disk), and one remedy: segmenting again
        return None
    return maps if maps.shape == (examples, canvas, canvas) and maps.dtype.kind == "u" else None
