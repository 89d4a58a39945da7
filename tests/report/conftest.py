"""Reports that several test files read."""

import pytest

from chimeramix_jax import report
from tests.report import finished_run


@pytest.fixture(scope="package")
def written(tmp_path_factory):
    """A report of three classes with hostile names."""
    workdir, dataset, predictions = finished_run.make(tmp_path_factory.mktemp("run"), finished_run.HOSTILE_NAMES)
    report.write(workdir, dataset, predictions)
    return workdir, dataset, predictions


@pytest.fixture(scope="package")
def photo_run(tmp_path_factory):
    """A report of ten classes of 50 photos, whose files exist."""
    folder = tmp_path_factory.mktemp("photos")
    made = finished_run.make_of_photos(folder / "run", folder / "photos", noise=4.0)
    report.write(*made)
    return made
