"""Fixtures for the tests of sweeps."""

import pytest

from chimeramix_jax import files
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep.plan import jobs_of
from chimeramix_jax.sweep.selection import select


@pytest.fixture
def runs(tmp_path):
    """Selects runs, on the digits by default."""

    def make(experiments="chimeramix_grid", images="5", seeds="0", overrides=(), datasets="digits"):
        return select(tmp_path / "sweep", datasets, experiments, images, seeds, overrides)

    return make


@pytest.fixture
def states():
    """Returns the states of the runs' jobs by name."""

    def by_name(selected, **arguments):
        return {job.name: job.state(**{"retry": False} | arguments) for job in jobs_of(selected)}

    return by_name


@pytest.fixture
def finish():
    """Writes the files of a finished run, or of a finished generator, into a run's directory."""

    def write(run, *, generator=False, seconds=60.0, generator_seconds=None):
        workdir = Workdir(run.workdir)
        workdir.claim(run.config)
        if generator:
            workdir.generator.mkdir()
            files.write_bytes(workdir.picture, b"drawn once the generator is finished")
            return
        times = {"classifier": seconds} | ({} if generator_seconds is None else {"generator": generator_seconds})
        measured = {"test": {"top1": 0.5}}
        compared = run.config.compare_with_baseline and run.config.mixing.mask != "none"
        files.write_json(workdir.results, measured | {"seconds": times} | ({"baseline": measured} if compared else {}))

    return write
