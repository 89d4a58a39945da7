"""Which settings Optuna tries next, and which trials it stops early."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial

from chimeramix_jax.tune.space import Dimension, Range, Value

# Per cent of the training after which a trial is stopped unless it is in the better half of those that came so far.
_FIRST_RUNG, COMPLETE = 25, 100


class _SamplerOfTrials(BaseSampler):
    """A sampler whose random numbers depend on the seed and the number of the trial only.

    So a search that was interrupted continues as if it had not been, and processes that share it do not draw the same.
    """

    def __init__(self, make: type[TPESampler] | type[RandomSampler], seed: int):
        self._make, self._seed = make, seed
        self._number, self._sampler = -1, make(seed=0)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            self._sampler = self._make(seed=(self._seed * 1_000_003 + trial.number) % 2**32)
        return self._sampler


_SAMPLERS: Mapping[str, type[TPESampler] | type[RandomSampler]] = {"tpe": TPESampler, "random": RandomSampler}


def sampler(name: str, seed: int) -> BaseSampler:
    """Returns the sampler with this name on the command line."""
    return _SamplerOfTrials(_SAMPLERS[name], seed)


def pruner(name: str) -> BasePruner:
    """Returns the pruner with this name on the command line; any other name stops no trial."""
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=_FIRST_RUNG, reduction_factor=2)
    if name == "hyperband":
        return HyperbandPruner(min_resource=_FIRST_RUNG, max_resource=COMPLETE, reduction_factor=2)
    return NopPruner()


def drawn(trial: Trial, dimension: Dimension) -> Value:
    """Draws a setting of a trial; returns what was drawn before, if anything was."""
    if not isinstance(dimension, Range):
        chosen = trial.suggest_categorical(dimension.key, dimension.values)
        assert chosen is not None
        return chosen
    if dimension.whole:
        return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.logarithmic)
    return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.logarithmic)
