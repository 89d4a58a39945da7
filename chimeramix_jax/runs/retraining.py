"""Notes that a run is being trained again, so that the same command continues that instead of beginning anew.

``retraining.json`` is written once the old files have been moved aside, and removed when the new ones are complete; for
several runs that one command trains again, when all of them are.
"""

from chimeramix_jax import files, stored_format
from chimeramix_jax.runs.workdir import Workdir


def is_begun(workdir: Workdir, stage: str) -> bool:
    """Whether a command with this ``stage`` has begun to train the run again, and has not ended."""
    return _stage(workdir) == stage


def begin(workdir: Workdir, stage: str) -> None:
    """Notes that the old files of a stage have been moved aside."""
    files.write_json(workdir.retraining, stored_format.marked({"stage": stage}))


def end(workdir: Workdir, stage: str) -> None:
    """Removes the note when a stage is complete, if it was the last that had to be."""
    if stage in (_stage(workdir), "all", "classifier"):
        workdir.retraining.unlink(missing_ok=True)


def _stage(workdir: Workdir) -> str | None:
    stored = stored_format.read(workdir.retraining)
    return None if stored is None else stored.get("stage")
