"""A search: its trials in Optuna's storage, which processes on several machines share, and what is tried next.

``search.log`` in the search's folder is Optuna's journal, and ``search.json`` says what is searched. A trial belongs to
the process that has its claim (``claims.py``). A trial that nobody has a claim on was interrupted; any process
continues it in its directory. If its process was on another machine and cannot be checked, the trial is given up and
repeated as a new one.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from ml_collections import ConfigDict
from optuna.exceptions import UpdateFinishedTrialError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from chimeramix_jax import config as settings
from chimeramix_jax import files, stored_format
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.tune import outcome as states
from chimeramix_jax.tune import sampling
from chimeramix_jax.tune.claims import Claims
from chimeramix_jax.tune.journal import ADVICE, damaged, journal_path, refuse_damaged_lines, remove_incomplete_line
from chimeramix_jax.tune.outcome import TrialRecord
from chimeramix_jax.tune.space import Space, Value
from chimeramix_jax.tune.trial import End, Outcome

ABOUT, CLAIMS = "search.json", "claims"  # in the search's folder

EXAMPLES, SECONDS, PROBLEM, DIVERGED, GIVEN_UP = "examples", "seconds", "problem", "diverged", "given_up"  # of a trial
BEHIND = "behind"  # of a trial that is to be stopped early
AS_GIVEN = "as_given"  # of a trial whose numbers are those of the config file, and so not rounded

FEWEST_FOR_IMPORTANCE = 4  # finished trials; with fewer there is nothing to see

_NAME = "search"  # of the study in the journal
_NEXT = "next"  # the claim of the process that chooses the next trial


@dataclass(frozen=True)
class Started:
    """A trial to carry out."""

    number: int
    values: dict[str, Value]  # its settings
    trial: Trial


class Search:
    """A search in a folder, as one of possibly several processes sees it."""

    def __init__(self, folder: Path, space: Space, config: ConfigDict, total: int, sampler: str, pruner: str):
        """Prepares a search of ``total`` trials; ``sampler`` and ``pruner`` are names as on the command line."""
        self.folder, self.space, self.total = folder, space, total
        self._config, self._sampler, self._pruner = config, sampler, pruner
        self.claims = Claims(folder / CLAIMS)

    def check(self, source: str, data: Mapping[str, str]) -> None:
        """Raises InputError if the folder holds something else, or lies among the photos; changes nothing.

        Args:
            source: the config file, for the record.
            data: the digests of the images.
        """
        Workdir(self.folder).refuse_among_photos(self._config)
        path = self.folder / ABOUT
        stored = stored_format.read(path, ADVICE)
        if stored is None:
            if self.folder.exists() and (not self.folder.is_dir() or files.names_in(self.folder) - {CLAIMS}):
                raise InputError(f"--workdir={self.folder}: is not empty and not a search; choose another folder")
            return
        for key in ("config", "space", "data"):
            if not isinstance(stored.get(key), Mapping):
                raise InputError(f"{path}: has no {key}, which must be a JSON object{ADVICE}")
        about = self._about(source, data)
        differing = settings.differences(settings.from_dict(stored["config"], path), about["config"])
        differing += [
            f"search of {key}: {stored['space'].get(key, 'none')} stored, {about['space'].get(key, 'none')} requested"
            for key in {**stored["space"], **about["space"]}
            if stored["space"].get(key) != about["space"].get(key)
        ]
        if not differing and stored["data"] != about["data"]:
            differing = ["its images have changed"]
        if differing:
            raise InputError(
                f"--workdir={self.folder}: holds another search ({settings.shortened(differing)}); "
                "choose another folder"
            )
        refuse_damaged_lines(journal_path(self.folder))

    def begin(self, source: str, data: Mapping[str, str]) -> None:
        """Creates the search, or joins it; raises InputError if the folder holds something else."""
        with self.claims.briefly(_NEXT):
            self.check(source, data)
            if not (self.folder / ABOUT).exists():
                files.write_json(self.folder / ABOUT, stored_format.marked(self._about(source, data)))
            remove_incomplete_line(journal_path(self.folder))
            try:
                is_new = not self._study.get_trials(deepcopy=False)
            except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
                raise damaged(journal_path(self.folder), f"{type(error).__name__}: {error}") from None
            if is_new:
                self._try_own_settings_first()

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials so far, of all processes, except those that were given up and repeated."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if GIVEN_UP not in trial.user_attrs]

    def unfinished(self) -> bool:
        """Whether trials are to be begun or continued, or in progress."""
        ended = [trial for trial in self.trials() if trial.state.is_finished()]
        return len(ended) < max(self.total, len(self.trials()))

    def records(self) -> list[TrialRecord]:
        """Returns what is known of these trials, by number."""
        return [_record(trial, self.space) for trial in self.trials()]

    def importance(self) -> dict[str, float] | None:
        """Returns each setting's share of the differences between the accuracies of finished trials, by fANOVA.

        None if too few trials are finished, all are equally accurate, or all have the same settings.
        """
        accuracies = [trial.value for trial in self.trials() if trial.state is TrialState.COMPLETE]
        if len(accuracies) < FEWEST_FOR_IMPORTANCE or len(set(accuracies)) < 2:
            return None
        evaluator = FanovaImportanceEvaluator(seed=self._config.seed)
        try:
            return get_param_importances(self._study, evaluator=evaluator)
        except RuntimeError:  # no variance: on a GPU, trials with the same settings differ a little in accuracy
            return None

    def next(self, leaving_out: Collection[int] = ()) -> Started | None:
        """Returns a trial to carry out, an interrupted one first; None if all are finished or in other hands.

        Interrupted trials with the numbers in ``leaving_out`` are not continued.
        """
        with self.claims.briefly(_NEXT):
            for frozen in self.trials():
                if frozen.number in leaving_out:
                    continue
                if frozen.state is TrialState.RUNNING and not self.claims.holds(_claim(frozen.number)):
                    if self.claims.take(_claim(frozen.number)):
                        return self._started(Trial(self._study, self._id(frozen.number)))
                    if self.claims.is_lost(_claim(frozen.number)):
                        self._repeat(frozen)
            begun = [trial for trial in self.trials() if trial.state is not TrialState.WAITING]
            if len(begun) >= self.total:
                return None
            trial = self._study.ask()
            if not self.claims.take(_claim(trial.number)):
                raise InputError(f"{self.folder / CLAIMS / _claim(trial.number)}: in use; choose another --workdir")
            return self._started(trial)

    def report(self, started: Started, percent: int, accuracy: float) -> bool:
        """Records an accuracy during training; returns whether to stop the trial early.

        It is also stopped if another machine has given it up.
        """
        trial = self._study.get_trials(deepcopy=False)[started.number]
        if GIVEN_UP in trial.user_attrs:
            return True
        if percent >= sampling.COMPLETE:
            return False
        # An accuracy that is there already was reported before the trial was interrupted, as was what follows from it.
        if percent in trial.intermediate_values:
            return BEHIND in trial.user_attrs
        try:
            started.trial.report(accuracy, percent)
            if is_behind := started.trial.should_prune():
                started.trial.set_user_attr(BEHIND, True)
            return is_behind
        except UpdateFinishedTrialError:  # given up at this moment
            return True

    def finish(self, started: Started, outcome: Outcome) -> bool:
        """Records how a trial ended; one that was stopped can be continued by any process.

        Returns False if another machine had given the trial up, so that nothing is recorded.
        """
        try:
            if GIVEN_UP in self._study.get_trials(deepcopy=False)[started.number].user_attrs:
                return False
            self._record_end(started.trial, outcome)
        except UpdateFinishedTrialError:  # given up at this moment
            return False
        finally:
            self.claims.drop(_claim(started.number))
        return True

    def _record_end(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.end is End.DONE:
            trial.set_user_attr(EXAMPLES, outcome.examples)
            trial.set_user_attr(SECONDS, outcome.seconds)
            self._study.tell(trial, outcome.accuracy)
        elif outcome.end in (End.PRUNED, End.DIVERGED):
            # Optuna's samplers take a trial that was stopped early for a bad one, which a diverged one is, too.
            if outcome.end is End.DIVERGED:
                trial.set_user_attr(DIVERGED, True)
            self._study.tell(trial, state=TrialState.PRUNED)
        elif outcome.end is End.FAILED:
            trial.set_user_attr(PROBLEM, outcome.problem)
            self._study.tell(trial, state=TrialState.FAIL)

    @cached_property
    def _storage(self) -> JournalStorage:
        return JournalStorage(JournalFileBackend(journal_path(self.folder)))

    @cached_property
    def _study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(
            storage=self._storage,
            study_name=_NAME,
            sampler=sampling.sampler(self._sampler, self._config.seed),
            pruner=sampling.pruner(self._pruner),
            direction="maximize",
            load_if_exists=True,
        )

    def _about(self, source: str, data: Mapping[str, str]) -> dict[str, Any]:
        """Returns the content of ``search.json``."""
        space = {dimension.key: dimension.text for dimension in self.space}
        return {"source": source, "config": settings.config_to_dict(self._config), "space": space, "data": dict(data)}

    def _try_own_settings_first(self) -> None:
        """Makes the settings of the config file the first trial, so that the result is never worse; if they fit."""
        own = settings.flatten(self._config)
        if all(dimension.includes(own[dimension.key]) for dimension in self.space):
            values = {dimension.key: own[dimension.key] for dimension in self.space}
            self._study.enqueue_trial(values, user_attrs={AS_GIVEN: True})

    def _started(self, trial: Trial) -> Started:
        """Draws the settings of a trial, as far as they have not been drawn before."""
        drawn = {dimension.key: sampling.drawn(trial, dimension) for dimension in self.space}
        return Started(trial.number, values_of(self.space, drawn, trial.user_attrs), trial)

    def _repeat(self, lost: FrozenTrial) -> None:
        """Gives up a trial whose process on another machine is lost, and repeats it as a new one."""
        self._storage.set_trial_user_attr(self._id(lost.number), GIVEN_UP, True)
        self._study.tell(lost.number, state=TrialState.FAIL)
        kept = {key: value for key, value in lost.user_attrs.items() if key == AS_GIVEN}
        self._study.enqueue_trial(lost.params, user_attrs=kept)

    def _id(self, number: int) -> int:
        """Returns the storage's id of a trial."""
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)


def values_of(space: Space, drawn: Mapping[str, Value], attributes: Mapping[str, Any]) -> dict[str, Value]:
    """Returns the settings of a trial, given what Optuna drew and what is noted of the trial."""
    if AS_GIVEN in attributes:
        return dict(drawn)
    return {dimension.key: dimension.value(drawn[dimension.key]) for dimension in space if dimension.key in drawn}


def _record(trial: FrozenTrial, space: Space) -> TrialRecord:
    state = {
        TrialState.COMPLETE: states.DONE,
        TrialState.PRUNED: states.DIVERGED if DIVERGED in trial.user_attrs else states.PRUNED,
        TrialState.FAIL: states.FAILED,
        TrialState.RUNNING: states.RUNNING,
        TrialState.WAITING: states.WAITING,
    }[trial.state]
    return TrialRecord(
        trial.number,
        state,
        values_of(space, trial.params, trial.user_attrs),
        math.nan if trial.value is None else trial.value,
        trial.user_attrs.get(EXAMPLES, 0),
        trial.user_attrs.get(SECONDS, math.nan),
        trial.user_attrs.get(PROBLEM, ""),
    )


def _claim(number: int) -> str:
    return f"trial-{number}"
