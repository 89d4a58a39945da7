"""What a command leaves for a later one: finished runs' figures, and unfinished runs if they are small enough."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from chimeramix_jax import files

MOST_BYTES = 15 * 2**20
_FIGURES = ("results.json", "config.json", "data.json", "metrics.jsonl")


def pack(runs: Path, archive: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Writes the runs below a folder into a .tar.gz, the first ones first; returns the runs that had no room in it.

    Of a finished run, one with a ``results.json``, the figures are kept and no networks. Of another one all that it
    needs to go on is kept: the newest checkpoint of each stage among it.
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
    """Brings an archive's runs back, but for those that are there already."""
    with tarfile.open(archive) as tar:
        roots = {str(Path(name).parent) for name in tar.getnames() if Path(name).name == "config.json"}
        known = {root for root in roots if (runs / root).exists()}
        wanted = [one for one in tar.getmembers() if not known.intersection(map(str, Path(one.name).parents))]
        tar.extractall(runs, wanted, filter="data")


def _figures(run: Path) -> Iterator[Path]:
    return (file for file in sorted(run.rglob("*")) if file.name in _FIGURES and "checkpoints" not in file.parts)


def _needed(run: Path) -> Iterator[Path]:
    """The files of a run but for its older checkpoints, and for its lock."""
    older = set()
    for checkpoints in run.rglob("checkpoints"):
        steps = sorted(int(step.name) for step in checkpoints.iterdir() if step.name.isdigit())
        older |= {checkpoints / str(step) for step in steps[:-1]}
    for file in sorted(run.rglob("*")):
        if file.is_file() and file.name != "lock.json" and not older.intersection(file.parents):
            yield file
