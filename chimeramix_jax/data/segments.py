"""Segments the training images, for masks that follow an image's content.

The published program segments every augmented image. Here each image is segmented once, on a canvas: the image with the
reflected margin that a random crop can reach. The label map of a view is the same crop of the canvas's label map, which
is a gather on the device; ``python -m benchmarks.segment_views`` measures how close the two are.

This module does not import JAX, because every worker process imports it and would have to wait.
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

IMAGES_PER_WORKER = 1000  # about 5 seconds at 64 pixels; for less work, starting another process hardly pays


@dataclass(frozen=True)
class FelzenszwalbSettings:
    """Arguments of scikit-image's ``felzenszwalb``. Published values for 32 to 64 pixels: scale and min_size 60."""

    scale: float  # larger values give fewer and larger segments; no unit
    min_size: int  # the minimum number of pixels of a segment; smaller segments are merged into a neighbour
    sigma: float = 0.8  # the standard deviation in pixels of the Gaussian blur before the segmentation

    @classmethod
    def of(cls, settings: ConfigDict) -> "FelzenszwalbSettings":
        """Returns the values in ``config.mixing``."""
        return cls(settings.segmentation_scale, settings.segmentation_min_size, settings.segmentation_sigma)

    def __post_init__(self) -> None:
        """Raises ValueError for values that the algorithm does not allow."""
        if not (self.scale > 0 and self.min_size >= 0 and self.sigma >= 0):
            raise ValueError(f"{self}: scale must be above 0, min_size and sigma at least 0")


def felzenszwalb_labels(
    image: Float[np.ndarray, "height width 3"], settings: FelzenszwalbSettings
) -> Int[np.ndarray, "height width"]:
    """Segments an image in [-1, 1]; labels are numbered from 0 by their first pixel, row by row."""
    from skimage.segmentation import felzenszwalb  # takes 0.3 s, which runs with stored label maps do not need

    return felzenszwalb(image, scale=settings.scale, sigma=settings.sigma, min_size=settings.min_size)


def label_maps(
    images: UInt8[np.ndarray, "examples side side 3"],
    settings: FelzenszwalbSettings,
    padding: int,
    cache_directory: Path | None,
    workers: int | None = None,
) -> UInt[np.ndarray, "examples canvas canvas"]:
    """Segments every image with its reflected margin, or reads label maps stored by an earlier call for these images.

    Args:
        images: in 0..255; ValueError if they are not 8-bit RGB squares.
        settings: the arguments of the segmentation.
        padding: the margin in pixels that random crops can reach on each side: ``canvas = side + 2 * padding``;
            ValueError if it is not less than the side, so that no reflection can fill it.
        cache_directory: the folder for stored label maps, created if necessary; None: do not store them.
        workers: the number of processes; 1: only this process; None: one per core, but fewer for few images.

    Returns:
        The label maps. Labels count from 0 without gaps in each map; the dtype is the smallest unsigned one possible.
    """
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
    # Joblib's processes are safe with JAX's threads. Unlike the processes of concurrent.futures they do not run the
    # user's script again, which may do more than define functions.
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
    """Returns a digest of the images, the settings and the version of scikit-image."""
    version = importlib.metadata.version("scikit-image")
    digest = hashlib.sha256(f"{version} {settings} {padding} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:32]


def _stored(path: Path, examples: int, canvas: int) -> UInt[np.ndarray, "examples canvas canvas"] | None:
    """Reads the label maps in a file; None if it is missing or damaged, which the archive's checksums detect."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            maps = arrays["label_maps"]
    except Exception:  # damage causes many errors (of zip, zlib, NumPy, the disk); the remedy is to segment again
        return None
    return maps if maps.shape == (examples, canvas, canvas) and maps.dtype.kind == "u" else None
