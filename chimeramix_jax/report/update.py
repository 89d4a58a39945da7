"""The comparison of a run's old and new model, prepared for ``templates/update.html.jinja``."""

from typing import Any

from chimeramix_jax import stored_format
from chimeramix_jax.report import commands
from chimeramix_jax.reporting import update_text
from chimeramix_jax.runs.workdir import Workdir


def content(workdir: Workdir) -> dict[str, Any] | None:
    """Returns what the page shows of ``update.json``; None if the run was never updated.

    Raises InputError if the file cannot be read.
    """
    record = stored_format.read(workdir.update_record)
    if record is None:
        return None
    with stored_format.checked(workdir.update_record):
        before = Workdir(workdir.path / record["before"])
        return {
            "date": record["date"],
            "changes": record["changes"],
            "header": update_text.HEADER,
            "rows": update_text.rows(record),
            "conclusion": update_text.conclusion(record),
            "notes": update_text.notes(record),
            "before": record["before"],
            "old_command": commands.classify_with_old(before) if before.path.exists() else None,
        }
