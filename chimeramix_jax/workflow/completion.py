"""Completes a prepared run: trains and measures it, and draws its report."""

from typing import Any

from chimeramix_jax import report
from chimeramix_jax.runs.out_of_fold import OutOfFold, measured_data
from chimeramix_jax.runs.results import Results
from chimeramix_jax.runs.run import Run
from chimeramix_jax.training.calls import Running
from chimeramix_jax.training.execution import Execution


def completed_with_report(
    run: Run, execution: Execution | None = None, out_of_fold: OutOfFold | None = None
) -> Running[dict[str, Any]]:
    """Completes a prepared run and draws its report; returns the same as ``train_and_evaluate``."""
    results = yield from measured_with_report(run, execution, out_of_fold)
    returned: dict[str, Any] = {}
    if results is not None and run.request.stage != "report":
        returned = results.content | {"summary": results.rows}
    return returned | {"files": run.workdir.written()}


def measured_with_report(
    run: Run, execution: Execution | None = None, out_of_fold: OutOfFold | None = None
) -> Running[Results | None]:
    """Completes a prepared run and draws its report; returns its results, or None for stage "generator"."""
    results = yield from run.complete(execution, out_of_fold)
    if results is not None:
        dataset = measured_data(run.dataset, out_of_fold)
        report.write(run.workdir, dataset, results.predictions, results.held_out)
    return results
