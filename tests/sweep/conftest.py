"""What the tests of sweeps share."""

import pytest

from chimeramix_jax import files
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep.plan import jobs_of
from chimeramix_jax.sweep.selection import select


@pytest.fixture
def runs(tmp_path):
    """Selects runs of the digits in a folder."""

    def make(experiments="chimeramix_grid", images="5", seeds="0", overrides=(), datasets="digits"):
        return select(tmp_path / "sweep", datasets, experiments, images, seeds, overrides)

    return make


@pytest.fixture
def states():
    """The states of the runs' jobs, by their names."""

    def of(selected, **asked):
        return {job.name: job.state(**{"retry": False} | asked) for job in jobs_of(selected)}

    return of


@pytest.fixture
def finish():
    """Leaves the files of a finished run, or of a finished generator, where a run is to be."""

    def leave(run, *, generator=False, seconds=60.0, generator_seconds=None):
        workdir = Workdir(run.workdir)
        workdir.claim(run.config)
        if generator:
            workdir.generator.mkdir()
            files.write_bytes(workdir.picture, b"drawn once the generator is finished")
            return
        taken = {"classifier": seconds} | ({} if generator_seconds is None else {"generator": generator_seconds})
        files.write_json(workdir.results, {"seconds": taken})

    return leave
