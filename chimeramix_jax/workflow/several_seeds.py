"""One configuration with several seeds: each run as if it were alone, but trained together."""

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.run import Request, Run, prepared
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.execution import available_devices
from chimeramix_jax.training.team import Outcome, Team
from chimeramix_jax.workflow.one_run import completed_with_report


def train_and_evaluate_seeds(
    config: ConfigDict,
    workdir: str | os.PathLike[str] | None = None,
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Completes the runs of all ``config.seeds``, and trains together what can be trained together.

    Each run is exactly what ``train_and_evaluate`` makes of that seed, so a run begun here can be continued alone, and
    the other way round.

    Args:
        config: the settings, as in ``configs/``; ``config.seed`` does not count.
        workdir: the folder that is to hold ``seed-0/``, ``seed-1/``, ..., or, with ``{seed}`` in it, the directory of
            each run; None: every run's own default.
        stage: as for ``train_and_evaluate``.
        retrain: the same.
        generator_workdir: the same, with ``{seed}`` in it, because a generator belongs to one seed.

    Returns:
        Per seed, in the order of ``config.seeds``: ``seed``, ``images`` (digests of the training and of the held-out
        images, whatever their order), ``rollbacks`` (how often each part was rolled back, if any was), ``summary``
        (rows for the table) and ``files``; the last two as far as the stage has them.

    Raises:
        InputError: a setting, the data or a directory does not fit. Nothing was trained then, unless the fault showed
            only later; the other seeds are finished in that case.
    """
    settings.check(config, stored=stage in settings.MEASURING_STAGES)
    requests = [
        _request(config, seed, workdir, generator_workdir, stage, retrain)
        for seed in settings.parse_seeds(config.seeds)
    ]
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(prepared(request)) for request in requests]
        outcomes = _completed(runs)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [_seed_results(run, outcome.result or {}) for run, outcome in zip(runs, outcomes, strict=True)]


def seed_workdir(config: ConfigDict, workdir: str | os.PathLike[str] | None) -> str:
    """Returns the directory of one seed's run, whose settings these are, within ``workdir`` or by default."""
    return settings.default_workdir(config) if workdir is None else settings.seed_in(workdir, config.seed)


def _request(
    config: ConfigDict,
    seed: int,
    workdir: str | os.PathLike[str] | None,
    generator_workdir: str | os.PathLike[str] | None,
    stage: str,
    retrain: bool,
) -> Request:
    """What is to be done for one seed."""
    if generator_workdir is not None:
        if settings.SEED_PLACE not in os.fspath(generator_workdir):
            raise InputError(
                f"--generator_workdir={generator_workdir}: a generator belongs to one seed, but seeds is "
                f"{config.seeds!r}; write {settings.SEED_PLACE} in place of the number, or leave it out"
            )
        generator_workdir = settings.with_seed(generator_workdir, seed)
    alone = settings.config_of_seed(config, seed)
    return Request(alone, Workdir(seed_workdir(alone, workdir)), stage, retrain, generator_workdir)


def _completed(runs: Sequence[Run]) -> list[Outcome[dict[str, Any]]]:
    """Completes the runs; a single one as if alone, on all devices."""
    if len(runs) == 1:
        return [Outcome(drive(completed_with_report(runs[0])))]
    config = runs[0].config
    team: Team[dict[str, Any]] = Team(available_devices(config.devices), config.seeds_per_call)
    return team.run([partial(completed_with_report, run) for run in runs])


def _seed_results(run: Run, results: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's results that the table over all seeds needs."""
    identity, rollbacks = run.dataset.identity, results.get("rollbacks", {})
    seed_results = {
        "seed": run.config.seed,
        "summary": results.get("summary", []),
        "files": [os.fspath(path) for path in results["files"]],
        "images": {"train": identity.unordered(TRAIN), "held_out": identity.unordered(HELD_OUT)},
        "rollbacks": {part: len(records) for part, records in rollbacks.items() if records},
    }
    if "validation" in results:
        seed_results["validation"] = results["validation"]["examples"]
    return seed_results
