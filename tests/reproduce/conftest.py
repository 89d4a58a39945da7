"""A table of the digits, and runs of it that were never trained."""

import pytest

from benchmarks.made_runs import make_run
from chimeramix_jax.reproduce import parts, published

SMALL = """
title = "A small table"
metric = "top1"
experiments = ["baseline", "chimeramix_grid"]
seeds = "0:3"

[[datasets]]
config = "digits"
title = "Digits"
images_per_class = [5, 10]

[[datasets]]
config = "nobody_has_it"
title = "A set of others"
images_per_class = [10, 30]

[sources.paper]
title = "A paper"
url = "https://example.org/paper"

[sources.page]
title = "A page"
url = "https://example.org/page"
"""

PROTOCOL = """
[protocols.{key}]
title = "Protocol {key}"
source = "paper"
data = {{ said = "5 of 10 images", differs = "yes" }}
network = {{ said = "a network", differs = "unknown" }}
training = {{ said = "epochs", differs = "no" }}
tuning = {{ said = "nothing", differs = "no" }}
runs = {{ said = "3", differs = "no" }}
epoch = {{ said = "the last", differs = "no" }}
metric = {{ said = "accuracy", differs = "no" }}
"""

FIGURE = """
[[figures]]
method = "{method}"
dataset = "{dataset}"
images_per_class = {images}
percent = {percent}
protocol = "{protocol}"
source = "page"
experiments = {experiments}
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A published table, under the name "small"."""
    text = SMALL + PROTOCOL.format(key="one") + PROTOCOL.format(key="two")
    for method, dataset, images, percent, protocol, experiments in (
        ("plain", "digits", 5, 60.0, "one", ["baseline"]),
        ("mixed", "digits", 5, 70.0, "one", ["chimeramix_grid"]),
        ("mixed", "digits", 5, 71.0, "two", ["chimeramix_grid"]),
        ("unlike ours", "digits", 10, 90.0, "two", []),
        ("plain", "nobody_has_it", 30, 50.0, "one", ["baseline"]),
    ):
        figure = {"method": method, "dataset": dataset, "images": images, "percent": percent, "protocol": protocol}
        text += FIGURE.format(**figure, experiments=experiments)
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "small.toml").write_text(text)
    monkeypatch.setattr(published, "_FOLDER", folder)
    published.load.cache_clear()
    yield published.load("small")
    published.load.cache_clear()


@pytest.fixture
def part(table, tmp_path):
    """The whole table, filled in the folder ``runs``."""
    return parts.chosen(table, tmp_path / "runs")


@pytest.fixture
def fill():
    """Writes results of a part's runs with 5 images per class; ``accuracies`` are those of the seeds, by experiment."""

    def write(part, accuracies):
        for run in part.runs:
            config = run.config
            values = accuracies.get(config.experiment, ())
            if config.max_labels_per_class == 5 and config.seed < len(values):
                changes = {"max_labels_per_class": 5, "seed": config.seed}
                make_run(run.workdir, values[config.seed], config=run.source, **changes)

    return write


@pytest.fixture
def gem():
    """The shipped table of GEM."""
    return published.load("gem")
