"""Published tables as data: figures with their sources and protocols, and the sweep that fills a table.

A table is a TOML file in ``tables/``. Its name is that of the file.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.config import shipped
from chimeramix_jax.errors import not_one_of

_FOLDER = Path(__file__).parent / "tables"

ASPECTS = {
    # What a protocol consists of, by the keys of the files.
    "data": "training and test images",
    "network": "network",
    "training": "training",
    "tuning": "what was tuned, and on what",
    "runs": "runs per figure",
    "epoch": "which epoch counts",
    "metric": "metric",
}


@dataclass(frozen=True, eq=False)
class Source:
    """A publication, or a page with figures of one."""

    title: str
    url: str


@dataclass(frozen=True)
class Aspect:
    """What a protocol says about one of ``ASPECTS``."""

    said: str
    differs: str  # from the runs of this program: "yes", "no", or "unknown" if the source does not say enough
    differs_for: Sequence[str] = ()  # the config names of the data sets for which it does; empty: for all


@dataclass(frozen=True, eq=False)
class Protocol:
    """How figures were obtained. Figures of different protocols are not comparable with each other."""

    title: str
    source: Source
    aspects: Mapping[str, Aspect]  # by key of ``ASPECTS``


@dataclass(frozen=True, eq=False)
class Figure:
    """A published accuracy."""

    method: str  # in the publication's words
    dataset: str  # the name of a config file
    images_per_class: int
    percent: float
    deviation: float | None  # the published standard deviation over runs, in percentage points; None: not published
    protocol: Protocol
    source: Source
    experiments: tuple[str, ...]  # the experiments of this program that train the same method; may be empty
    note: str  # what the source leaves open; empty if nothing


@dataclass(frozen=True)
class TableDataset:
    """A data set of a table."""

    config: str  # the name of its config file, whether or not there is one
    title: str
    images_per_class: tuple[int, ...]
    # Whether all images are trained on. The published number is then rounded, as some classes have fewer.
    every_image: bool = False

    def size_of_runs(self, images_per_class: int) -> int | None:
        """Returns the value of ``max_labels_per_class`` in the runs for a published number of images per class."""
        return None if self.every_image else images_per_class

    @property
    def can_be_filled(self) -> bool:
        """Whether this program has a config file for the data set."""
        return self.config in shipped.names()


@dataclass(frozen=True)
class PublishedTable:
    """A published table and the sweep that fills it."""

    name: str
    title: str
    metric: str  # a key of ``summary.trials.METRICS``
    datasets: tuple[TableDataset, ...]
    experiments: tuple[str, ...]  # of the sweep
    seeds: tuple[int, ...]
    divisions: tuple[int, ...]  # published divisions of the training images to train on; empty: drawn by the seed
    figures: tuple[Figure, ...]

    @property
    def protocols(self) -> list[Protocol]:
        """The protocols of the figures, in the order of the figures."""
        found: list[Protocol] = []
        for figure in self.figures:
            if figure.protocol not in found:
                found.append(figure.protocol)
        return found

    @property
    def runs(self) -> int:
        """The number of runs of the sweep, for the data sets that this program has."""
        sizes = sum(len(dataset.images_per_class) for dataset in self.datasets if dataset.can_be_filled)
        return sizes * len(self.experiments) * len(self.seeds) * max(len(self.divisions), 1)


def names() -> list[str]:
    """Returns the names of all tables."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load(name: str) -> PublishedTable:
    """Returns a table; raises InputError, which suggests a similar name, if there is none of this name."""
    if name not in names():
        raise not_one_of("TABLE", name, names())
    content = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    datasets = tuple(
        TableDataset(entry["config"], entry["title"], tuple(entry["images_per_class"]), entry.get("every_image", False))
        for entry in content["datasets"]
    )
    taken_over = [figure for other in content.get("figures_of", ()) for figure in _taken_over(other, content)]
    places = {(dataset.config, images) for dataset in datasets for images in dataset.images_per_class}
    return PublishedTable(
        name=name,
        title=content["title"],
        metric=content["metric"],
        datasets=datasets,
        experiments=tuple(content["experiments"]),
        seeds=settings.parse_seeds(content["seeds"]),
        divisions=settings.parse_seeds(content["divisions"]) if "divisions" in content else (),
        figures=(
            *_figures(content),
            *(figure for figure in taken_over if (figure.dataset, figure.images_per_class) in places),
        ),
    )


def _taken_over(name: str, content: Mapping[str, Any]) -> list[Figure]:
    """Returns the figures of another table, with the differences from the runs of the one that takes them over."""
    differences = content.get("differences_from", {}).get(name, {})
    protocols = {
        protocol: replace(
            protocol,
            aspects={
                key: replace(aspect, differs=differences.get(key, aspect.differs))
                for key, aspect in protocol.aspects.items()
            },
        )
        for protocol in load(name).protocols
    }
    return [replace(figure, protocol=protocols[figure.protocol]) for figure in load(name).figures]


def _figures(content: Mapping[str, Any]) -> list[Figure]:
    """Returns the figures that a file has itself."""
    sources = {key: Source(**about) for key, about in content["sources"].items()}
    protocols = {
        key: Protocol(about["title"], sources[about["source"]], {aspect: Aspect(**about[aspect]) for aspect in ASPECTS})
        for key, about in content["protocols"].items()
    }
    return [
        Figure(
            method=entry["method"],
            dataset=entry["dataset"],
            images_per_class=entry["images_per_class"],
            percent=entry["percent"],
            deviation=entry.get("deviation"),
            protocol=protocols[entry["protocol"]],
            source=sources[entry["source"]],
            experiments=tuple(entry["experiments"]),
            note=entry.get("note", ""),
        )
        for entry in content["figures"]
    ]
