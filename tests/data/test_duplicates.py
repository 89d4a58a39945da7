import time
import tracemalloc

import numpy as np

from chimeramix_jax.data.duplicates import Copy, near_groups
from chimeramix_jax.data.originals import Original


def copy(number, digest, perceptual_hash, split="train"):
    return Copy(Original(f"{number}.png", 0, 9, 9, digest, perceptual_hash), split)


def test_thousands_of_photos_that_look_alike_are_one_group_in_little_time_and_memory():
    copies = [copy(number, f"{number:016x}", "ab" * 16) for number in range(5_000)]
    start = time.process_time()
    tracemalloc.start()
    (group,) = near_groups(copies)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(group.copies) == copies
    assert time.process_time() - start < 20 and most < 150 * 2**20


def test_chains_of_near_images_are_joined_across_blocks_of_the_search():
    hashes = [np.random.default_rng(number).bytes(16).hex() for number in range(2_500)]

    def stepping(start, steps):
        """Returns hashes of which only neighbours are near."""
        return [f"{int(start, 16) ^ (2 ** (10 * step) - 1):032x}" for step in range(steps)]

    for place, text in zip((3, 900, 1_800, 2_499), stepping(hashes[3], 4), strict=True):
        hashes[place] = text
    for place, text in zip((2_000, 5), stepping(hashes[2_000], 2), strict=True):
        hashes[place] = text
    copies = [copy(number, f"{number:016x}", text) for number, text in enumerate(hashes)]
    same = copy("same", copies[900].original.digest, hashes[900])
    files = [[of.original.file for of in group.copies] for group in near_groups([*copies, same])]
    assert files == [["3.png", "900.png", "same.png", "1800.png", "2499.png"], ["5.png", "2000.png"]]
