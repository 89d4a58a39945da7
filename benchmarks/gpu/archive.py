"""Packs what a later command needs: the figures of finished runs, and unfinished runs if they are small enough."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from chimeramix_jax import files

MOST_BYTES = 15 * 2**20
_FIGURES = ("results.json", "config.json", "data.json", "metrics.jsonl")


def pack(runs: Path, archive: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Writes the runs below a folder into a .tar.gz, finished runs first; returns the runs that did not fit.

    Finished runs are those with a ``results.json``; only their figures are kept, not their networks. Of other runs,
    everything that they need to resume is kept, including the newest checkpoint of each stage.
    """
    content, left_out = io.BytesIO(), []
    room = most_bytes
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=6) as tar:
        places = sorted(file.parent for file in runs.rglob("config.json") if "generator_kept" not in file.parts)
        for run in sorted(places, key=lambda run: not (run / "results.json").exists()):
            wanted = list(_figures(run) if (run / "results.json").exists() else _needed(run))
            size = sum(file.stat().st_size for file in wanted)
            if size > room:
                left_out.append(run)
                continue
            room -= size
            for file in wanted:
                tar.add(file, file.relative_to(runs))
    files.write_bytes(archive, content.getvalue())
    return left_out


def unpack(archive: Path, runs: Path) -> None:
    """Unpacks an archive's runs, except those that already exist."""
    with tarfile.open(archive) as tar:
        roots = {str(Path(name).parent) for name in tar.getnames() if Path(name).name == "config.json"}
        known = {root for root in roots if (runs / root).exists()}
        wanted = [file for file in tar.getmembers() if not known.intersection(map(str, Path(file.name).parents))]
        tar.extractall(runs, wanted, filter="data")


def _figures(run: Path) -> Iterator[Path]:
    return (file for file in sorted(run.rglob("*")) if file.name in _FIGURES and "checkpoints" not in file.parts)


def _needed(run: Path) -> Iterator[Path]:
    """Yields the files of a run except its older checkpoints and its lock."""
    older = set()
    for checkpoints in run.rglob("checkpoints"):
        steps = sorted(int(step.name) for step in checkpoints.iterdir() if step.name.isdigit())
        older |= {checkpoints / str(step) for step in steps[:-1]}
    for file in sorted(run.rglob("*")):
        if file.is_file() and file.name != "lock.json" and not older.intersection(file.parents):
            yield file
