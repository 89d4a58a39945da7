"""The images to classify: files, folders and patterns, Pillow's images and arrays, alone or mixed in any iterable.

Files are read by several threads a little ahead of their use. Images in memory are resized when they are reached and
not kept, so an iterator may produce any number of them.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data import image_paths
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.data.image_files import read_rgb, read_rgb_content, upright_rgb
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.paths import printable
from chimeramix_jax.runtime import stopping
from chimeramix_jax.use.labelled_folders import true_classes

_AHEAD = 4  # files that are read ahead of their use, per thread
_SECONDS_BETWEEN_LOOKS = 0.2  # for a signal, while a pipe is waited for

# A path may lead to a file or a folder, or be a pattern; see ``data.image_paths``. Arrays are uint8 of shape
# (height, width, 3) in RGB order, (height, width, 4) with opacity, or (height, width) and (height, width, 1) in grey.
ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | jax.Array
# One image or several, also as an array of shape (images, height, width, channels). None stands for an image that
# could not be read, as in OpenCV.
Images = ImageLike | Iterable[ImageLike | None]


class FoundFiles(tuple[Path, ...]):
    """Files that ``data.image_paths.find`` has found, which are images each and are not looked up again."""


_Square = UInt8[np.ndarray, "side side 3"]
_Read = tuple[_Square, str | None]  # an image, and the digest of its pixels before it was resized, if it is needed


@dataclass(frozen=True)
class Named:
    """What is known of an image, apart from its pixels."""

    name: str  # its file; for an image in memory, its file if Pillow knows it, or else its place, such as "images[3]"
    path: Path | None = None  # None: it is in memory
    true_class: str | None = None  # if its file lies in a folder named after a class; see ``use.labelled_folders``
    digest: str | None = None  # the ``image_digest`` of its pixels, as read; None: it has not been read, or not needed


def named(images: Images, class_names: Sequence[str], together: int | None = None) -> Iterable[tuple[Named, object]]:
    """Returns each image's name, and its path, the image itself, or the InputError that says why it is neither.

    A string may name several files (``data.image_paths.find``), an element of an iterable only by a folder or a pattern
    (``find_each``). Those of a list are found at once, and those of other iterables as far as they are used, except
    that ``together`` neighbouring paths are found together; None: all neighbouring paths. Only what is found together
    decides whether the folders of files are named after classes. Raises InputError, as ``data.image_paths`` does.
    """
    if isinstance(images, str | FoundFiles):
        return _of_paths(image_paths.find(images) if isinstance(images, str) else images, class_names)
    if isinstance(images, Iterable) and _are_several(images):
        if isinstance(images, Sequence):
            return list(_named(images, class_names, None))
        return _named(images, class_names, together)
    return list(_named([images], class_names, None))


def kept(images: Images) -> Images:
    """Returns the same images in a form that can be read several times, so that an iterable becomes a list."""
    if isinstance(images, Iterable) and not isinstance(images, FoundFiles) and _are_several(images):
        return list(images)
    return images


def squares(
    found: Iterable[tuple[Named, object]], side: int, fit: Fit, *, with_digests: bool = False
) -> Iterator[tuple[Named, _Square | InputError]]:
    """Yields each image as RGB in 0..255, upright and fitted into a square; or why it is unreadable.

    The images are in the order of ``found``. ``with_digests`` also computes their digests.
    """
    ahead: deque[tuple[Named, Future[_Read | InputError]]] = deque()
    fitted = partial(_fitted, side=side, fit=fit, with_digest=with_digests)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as readers:
        for image, value in found:
            if image.path is not None:
                ahead.append((image, readers.submit(_of_file, image.path, fitted)))
            else:  # at once, as Pillow cannot read an open file in two threads
                ahead.append((image, _finished(_of_memory(image.name, value, fitted))))
            while len(ahead) > _AHEAD * threads:
                yield _when_read(*ahead.popleft())
        while ahead:
            yield _when_read(*ahead.popleft())


def _fitted(image: Image.Image, *, side: int, fit: Fit, with_digest: bool) -> _Read:
    digest = image_digest(np.asarray(image)) if with_digest else None
    return np.asarray(squared(image, side, fit)), digest


def _when_read(image: Named, reading: "Future[_Read | InputError]") -> tuple[Named, _Square | InputError]:
    read = reading.result()
    return (image, read) if isinstance(read, InputError) else (replace(image, digest=read[1]), read[0])


def _are_several(images: Iterable[object]) -> bool:
    """Whether these are several images; an array is a single one if it has two or three axes."""
    if _is_array(images):
        return np.asarray(images).ndim not in (0, 2, 3)
    return not isinstance(images, str | bytes | os.PathLike | Image.Image)


def _is_array(value: object) -> bool:
    """Whether it is an array, of NumPy, JAX or another library, and not a list or an image of Pillow."""
    return hasattr(value, "__array__") and hasattr(value, "dtype")


def _named(
    images: Iterable[object], class_names: Sequence[str], together: int | None
) -> Iterator[tuple[Named, object]]:
    for are_paths, group in itertools.groupby(enumerate(images), lambda item: isinstance(item[1], str | os.PathLike)):
        if are_paths:
            paths = (path for _, path in group if isinstance(path, str | os.PathLike))
            while names := list(itertools.islice(paths, together)):
                yield from _of_paths(_found(names), class_names)
        else:
            for place, image in group:
                file = getattr(image, "filename", "") if isinstance(image, Image.Image) else ""
                yield Named(printable(file) if file else f"images[{place}]"), image


def _found(names: Sequence[str | os.PathLike[str]]) -> Iterator[Path | tuple[str, InputError]]:
    """Yields the files that paths mean, and the name and the error of each that cannot be a path."""
    for name, files in zip(names, image_paths.find_each(names), strict=True):
        if isinstance(files, InputError):
            yield printable(name), files
        else:
            yield from files


def _of_paths(found: Iterable[Path | tuple[str, InputError]], class_names: Sequence[str]) -> list[tuple[Named, object]]:
    """Returns files with their names and true classes, and errors with their names, in order."""
    listed = list(found)
    classes = true_classes((path for path in listed if isinstance(path, Path)), class_names)
    return [
        (Named(printable(item), item, classes.get(item)), item) if isinstance(item, Path) else (Named(item[0]), item[1])
        for item in listed
    ]


def _of_file(path: Path, fitted: Callable[[Image.Image], _Read]) -> _Read | InputError:
    """Reads a file; returns errors, so that they are in order with the images."""
    try:
        if not path.exists() or path.is_file():
            return fitted(read_rgb(path, named_by="--images"))
        return fitted(read_rgb_content(_of_pipe(path), str(path), named_by="--images"))
    except InputError as error:
        return error
    except OSError as error:
        return InputError(f"--images: {path} cannot be read: {error.strerror}")


def _of_pipe(path: Path) -> bytes:
    """Returns what a pipe or a device contains up to its end; raises Stopped if the program is asked to stop.

    Its writer may never come, so a thread waits for it that is left behind at the end of the program.
    """
    content: Future[bytes] = Future()

    def read() -> None:
        try:
            content.set_result(path.read_bytes())
        except Exception as error:
            content.set_exception(error)

    threading.Thread(target=read, daemon=True).start()
    while not wait([content], _SECONDS_BETWEEN_LOOKS).done:
        stopping.raise_if_asked()
    return content.result()


def _of_memory(name: str, value: object, fitted: Callable[[Image.Image], _Read]) -> _Read | InputError:
    try:
        return fitted(upright_rgb(_pillow_image(name, value)))
    except InputError as error:
        return error
    except MemoryError:
        raise
    except Exception as error:  # an open file is only read now; Pillow raises errors of many classes for damaged ones
        return InputError(f"{name}: is damaged or of an unknown kind ({one_line(error)})")


def _pillow_image(name: str, value: object) -> Image.Image:
    """Returns an image in memory as Pillow's; raises InputError if it is none, or the one given in its place."""
    if isinstance(value, InputError):
        raise value
    if isinstance(value, Image.Image):
        if not all(value.size):  # as a crop that lies outside of an image
            raise InputError(f"{name}: has a size of {value.width}x{value.height}; it must have at least one pixel")
        return value
    if not _is_array(value):
        kind = "is None" if value is None else f"is of type {type(value).__name__}"
        raise InputError(f"{name}: {kind}; it must be a path, an image of Pillow or an array")
    array = np.asarray(value)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise InputError(
            f"{name}: is {array.dtype} of shape {array.shape}; an array must be uint8 of shape (height, width, 3), "
            "(height, width, 4) or (height, width)"
        )
    return Image.fromarray(array[..., 0] if array.ndim == 3 and channels == 1 else array)


def _finished(result: _Read | InputError) -> "Future[_Read | InputError]":
    future: Future[_Read | InputError] = Future()
    future.set_result(result)
    return future
