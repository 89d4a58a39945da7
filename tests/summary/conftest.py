"""Fixtures for the tests of summaries."""

import pytest
from summary.made_trials import made_trial

from chimeramix_jax.summary.comparison import summarize


@pytest.fixture
def summary():
    trials = [made_trial(accuracy, seed) for seed, accuracy in enumerate((0.5, 0.55, 0.6))]
    trials += [made_trial(accuracy, seed, "mix_grid") for seed, accuracy in enumerate((0.6, 0.64, None))]
    trials += [made_trial(0.8, 0, images=None)]
    return summarize(trials, ["a|b: cannot be read"], None, "top1")
