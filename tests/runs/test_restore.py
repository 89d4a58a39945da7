"""Restoring trained networks from a run's directory."""

import pytest

import chimeramix_jax
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize("part", ["generator", "clasifier", "../run/classifier"])
def test_only_a_runs_classifiers_are_restored_as_such(part, trained_run):
    with pytest.raises(InputError, match=r"^part: .* is not known.*; allowed: classifier, baseline$"):
        chimeramix_jax.restore_classifier(trained_run, part)
