"""Hashes what an image looks like, so that edited copies of a photo get similar hashes.

A hash has 128 bits: 64 from the lowest frequencies of the image's cosine transform, 64 from whether its brightness
rises or falls from left to right. The number of differing bits is the distance of two images. ``docs/data_check.md``
has the measurements behind ``NEAR``.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64, UInt64
from PIL import Image

NEAR = 14  # differing bits, of 128, up to which two images count as near duplicates
FLAT = 8  # grey levels: a smaller range of brightness has no structure to compare, only noise

_WORDS = 2  # of 64 bits
_LARGE_SIDE = 512  # pixels; larger images are first reduced, which is fast, to at least half of it
_PAIRS_AT_ONCE = 1_000_000  # bounds the memory of the search: some tens of MB, also if all images are alike


def perceptual_hash(image: Image.Image) -> str:
    """Returns the hash of an RGB image as 32 hexadecimal digits; an empty text if it has almost a single colour."""
    import imagehash  # here, as only a user's own images are hashed

    factor = 2 * min(image.size) // _LARGE_SIDE
    grey = (image.reduce(factor) if factor > 1 else image).convert("L")
    thumbnail = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), np.int16)
    if np.ptp(thumbnail) < FLAT:
        return ""
    bits = np.concatenate([imagehash.phash(grey).hash.ravel(), imagehash.dhash(grey).hash.ravel()])
    return np.packbits(bits).tobytes().hex()


def near_pairs(
    hashes: Sequence[str], first: int | None = None, most: int = NEAR
) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """Yields the positions of all pairs of hashes that differ in at most ``most`` bits; empty hashes have no pair.

    They come in arrays, of which none is large: images that are all alike have too many pairs to hold at once.

    Args:
        hashes: results of ``perceptual_hash``.
        first: only pairs with one of the first so many hashes; None: all pairs.
        most: the largest distance.
    """
    filled = np.array([position for position, text in enumerate(hashes) if text], dtype=np.int64)
    words = _packed([hashes[position] for position in filled])
    end = len(words) if first is None else int(np.searchsorted(filled, first))
    rows_at_once = max(1, _PAIRS_AT_ONCE // max(1, len(words)))
    for start in range(0, end, rows_at_once):
        rows = words[start : min(start + rows_at_once, end)]
        distances = np.zeros((len(rows), len(words) - start), np.uint8)
        for word in range(_WORDS):
            distances += np.bitwise_count(rows[:, word, None] ^ words[None, start:, word])
        pairs = np.argwhere(np.triu(distances <= most, k=1))
        if len(pairs):
            yield filled[start + pairs]


def _packed(hashes: Sequence[str]) -> UInt64[np.ndarray, "images words"]:
    """Returns the hashes as words of 64 bits, which NumPy compares quickly."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(-1, _WORDS)
