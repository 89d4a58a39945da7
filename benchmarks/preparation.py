"""Measures what preparing the published data sets takes, from archives of full size in the published formats.

    python -m benchmarks.preparation --folder=/tmp/archives

Writes ciFAIR-10 and ciFAIR-100 (50,000 training and 10,000 test images each) and STL-10 (5,000 and 8,000, and 1,000 of
its 100,000 unlabelled ones, which come last and are never read) with drawn content: coloured tiles under noise, since
the real ones may not be copied. Each archive is then prepared, and loaded once more, in a process of its own. The table
has the seconds of both, the largest memory of the process, and the size of what is stored. All images that are read are
compared with those that were drawn.
"""

import argparse
import hashlib
import io
import json
import pickle
import resource
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from benchmarks.speed import processor
from chimeramix_jax import config as settings
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.archives import Archive
from chimeramix_jax.data.builders import cifair, stl10
from chimeramix_jax.reporting.text_table import aligned

CIFAR_TEST_IMAGES, CIFAR_BATCHES, CIFAR_BATCH = 10_000, 5, 10_000
STL_IMAGES: Mapping[str, int] = {"train": 5_000, "test": 8_000}
IMAGES_PER_CLASS = 50
TILE = 8  # pixels per side


def drawn(count: int, side: int, seed: int) -> UInt8[np.ndarray, "count side side 3"]:
    """Draws images of coloured tiles under noise, which compress about as badly as small photos."""
    random = np.random.default_rng(seed)
    tiles = random.integers(20, 200, (count, side // TILE, side // TILE, 3), np.uint8)
    images = tiles.repeat(TILE, axis=1).repeat(TILE, axis=2)
    images += random.integers(0, 24, images.shape, np.uint8)
    return images


def main() -> None:
    """Measures every data set and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the archives and the prepared data, 2 GB")
    parser.add_argument("--datasets", default="cifair10,cifair100,stl10", help="comma-separated")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the data set that this process prepares
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.folder)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows = [["data set", "images", "prepare", "load again", "memory", "stored"]]
    for name in arguments.datasets.split(","):
        WRITERS[name](_archive(name, arguments.folder), name)
        command = [sys.executable, "-m", "benchmarks.preparation", f"--folder={arguments.folder}", f"--measure={name}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        one = json.loads(done.stdout.splitlines()[-1])
        seconds = [f"{one[key]:.1f} s" for key in ("prepare", "load")]
        rows.append([name, f"{one['images']:,.0f}", *seconds, f"{one['memory']:.2f} GiB", f"{one['stored']:.0f} MiB"])
    print(f"{processor()}, Python {sys.version.split()[0]}, {time.strftime('%Y-%m-%d')}\n")
    print(aligned(rows))


def measure(name: str, folder: Path) -> dict[str, float]:
    """Prepares and loads a data set in this process; returns seconds, GiB of memory and MiB of stored files."""
    path, data_dir = _archive(name, folder), folder / "prepared" / name
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    builder: Any = cifair.BUILDERS.get(name, stl10.Stl10)
    builder.ARCHIVE = Archive(builder.ARCHIVE.url, md5)  # instead of the published file's
    config = settings.load(f"{name}:baseline")
    config.dataset.archive, config.dataset.data_dir = str(path), str(data_dir)
    seconds = []
    for _ in range(2):
        started_at = time.monotonic()
        dataset = load_few_shot(config.dataset, IMAGES_PER_CLASS, seed=0)
        seconds.append(time.monotonic() - started_at)
    train, test = drawn_images(name)
    np.testing.assert_array_equal(dataset.train.images, train[dataset.train_indices])
    np.testing.assert_array_equal(dataset.held_out.images, test)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    stored = sum(file.stat().st_size for file in data_dir.rglob("*") if file.is_file()) / 2**20
    images = float(len(train) + len(test))
    return {"images": images, "prepare": seconds[0], "load": seconds[1], "memory": peak, "stored": stored}


def drawn_images(name: str) -> tuple[UInt8[np.ndarray, "_ _ _ 3"], UInt8[np.ndarray, "_ _ _ 3"]]:
    """Returns the training and test images that the archive of a data set contains."""
    if name == "stl10":
        return drawn(STL_IMAGES["train"], 96, 0), drawn(STL_IMAGES["test"], 96, 1)
    train = [drawn(CIFAR_BATCH, 32, number) for number in range(CIFAR_BATCHES)]
    return np.concatenate(train), drawn(CIFAR_TEST_IMAGES, 32, CIFAR_BATCHES)


def write_cifair(path: Path, name: str) -> None:
    """Writes a zip of pickles, as ciFAIR is published."""
    classes, layout = 10 if name == "cifair10" else 100, cifair.BUILDERS[name].LAYOUT
    train, test = drawn_images(name)
    parts = np.split(train, len(layout.train_files))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, images in (*zip(layout.train_files, parts, strict=True), (layout.test_files[0], test)):
            rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            content = {b"data": rows, layout.labels_key.encode(): [number % classes for number in range(len(images))]}
            archive.writestr(f"{path.stem}/{file}", pickle.dumps(content, protocol=2))
        names = {layout.names_key.encode(): [f"class {number:02}".encode() for number in range(classes)]}
        archive.writestr(f"{path.stem}/{layout.names_file}", pickle.dumps(names, protocol=2))


def write_stl10(path: Path, name: str) -> None:
    """Writes a tar.gz of binary files, as STL-10 is published."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member, content in _stl10_members():
            header = tarfile.TarInfo(f"{name}_binary/{member}")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def _stl10_members() -> Iterator[tuple[str, bytes]]:
    yield "class_names.txt", "\n".join(f"class{number}" for number in range(10)).encode()
    for split, images in zip(("train", "test"), drawn_images("stl10"), strict=True):
        yield f"{split}_X.bin", images.transpose(0, 3, 2, 1).tobytes()
        yield f"{split}_y.bin", (np.arange(len(images)) % 10 + 1).astype(np.uint8).tobytes()
    yield "unlabeled_X.bin", drawn(1_000, 96, 2).tobytes()


WRITERS: Mapping[str, Callable[[Path, str], None]] = {
    "cifair10": write_cifair,
    "cifair100": write_cifair,
    "stl10": write_stl10,
}


def _archive(name: str, folder: Path) -> Path:
    return folder / (f"{name}.zip" if name in cifair.BUILDERS else f"{name}_binary.tar.gz")


if __name__ == "__main__":
    main()
