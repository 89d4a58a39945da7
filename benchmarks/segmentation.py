"""Times the label maps of a training set (``data/segments.py``, without its stored results).

    python -m benchmarks.segmentation
    python -m benchmarks.segmentation --images FOLDER_OR_ZIP --count 1000 --side 64

Segments the same images in one process and in as many as there are cores. Prints seconds, images per second and the
number of segments. The times for several processes include starting them.
"""

import argparse
import sys
import time

import joblib
import numpy as np

from benchmarks import real_images
from chimeramix_jax.data.segments import FelzenszwalbSettings, felzenszwalb_labels, label_maps


def main() -> None:
    """Prints a line per number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder or zip of images (default: pieces of two photos)")
    parser.add_argument("--count", type=int, default=1000, help="how many images")
    parser.add_argument("--side", type=int, default=64, help="side that images are resized to, in pixels")
    parser.add_argument("--scale", type=float, default=60, help="Felzenszwalb's scale")
    parser.add_argument("--min-size", type=int, default=60, help="minimum size of a segment, in pixels")
    arguments = parser.parse_args()
    images = real_images.load(arguments.images, arguments.count, arguments.side)
    settings, padding = FelzenszwalbSettings(arguments.scale, arguments.min_size), arguments.side // 8
    felzenszwalb_labels(images[0] / 127.5 - 1, settings)  # so that imports are not timed
    print(f"python {sys.version.split()[0]}, {joblib.cpu_count()} cores, {len(images)} images, {settings}")
    print(f"canvas {arguments.side + 2 * padding} x {arguments.side + 2 * padding} pixels")
    for workers in sorted({1, joblib.cpu_count()}):
        started = time.perf_counter()
        maps = label_maps(images, settings, padding, None, workers)
        seconds = time.perf_counter() - started
        print(f"processes: {workers:<3}  {seconds:6.2f} s  {len(images) / seconds:6.0f} images/s", flush=True)
    segments = maps.max(axis=(1, 2)) + 1
    print(f"segments per canvas: {segments.min()} to {segments.max()}, median {np.median(segments):.0f}; {maps.dtype}")


if __name__ == "__main__":
    main()
