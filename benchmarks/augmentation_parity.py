"""Compares the augmentation operations on the device with Pillow's, operation by operation.

    python -m benchmarks.augmentation_parity

Uses four photographs of 32 px and four of 64 px, at all magnitudes of AutoAugment and TrivialAugment, in both
directions. Needs the tests' fixtures; ``tests/augment/test_operations.py`` checks the same figures against limits.
"""

import sys

import jax
import numpy as np
import PIL

from chimeramix_jax.augment.operations import Operation
from tests.augment.pillow_reference import compare, photographs


def main() -> None:
    """Prints a line per operation."""
    device = jax.devices()[0].device_kind
    print(f"{device}, jax {jax.__version__}, Pillow {PIL.__version__}, python {sys.version.split()[0]}")
    print(f"{'operation':14}  {'largest difference':>18}  {'pixels that differ':>18}  {'in the worst image':>18}")
    for operation in Operation:
        largest, share, worst = zip(*(differences(operation, photographs(side)) for side in (32, 64)), strict=True)
        shares = f"{np.mean(share):18.3%}  {max(worst):18.3%}"
        print(f"{operation.name.lower():14}  {max(largest):6} grey levels  {shares}", flush=True)


def differences(operation: Operation, images: np.ndarray) -> tuple[int, float, float]:
    """Returns the largest difference in grey levels, and the share of pixels that differ: on average and at worst."""
    ours, pillow = compare(operation, images)
    differences = np.abs(ours.astype(int) - pillow).max(axis=-1)
    shares = (differences > 0).mean(axis=(1, 2))
    return int(differences.max()), float(shares.mean()), float(shares.max())


if __name__ == "__main__":
    main()
