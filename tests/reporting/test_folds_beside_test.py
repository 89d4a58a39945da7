"""The warning that fewer test images are classified correctly than the folds suggest."""

import pytest

from chimeramix_jax.reporting.folds_beside_test import shortfall
from chimeramix_jax.reporting.results import closing_text

FOLDS = {"folds": 5, "repeats": 1, "runs": [{}] * 5, "examples": 200, "expected_accuracy": 0.77, "optimism": 0.0}
FOLDS |= {"interval": [0.707, 0.823]}


@pytest.mark.parametrize(
    ("top1", "examples", "warns"),
    [(0.617, 682, True), (0.617, 60, False), (0.7, 682, False), (0.9, 682, False)],
)
def test_a_warning_is_given_only_if_the_accuracy_on_test_images_is_lower_beyond_chance(top1, examples, warns):
    assert bool(shortfall(FOLDS, {"top1": top1, "examples": examples})) == warns
    assert shortfall(FOLDS, None) == ""


def test_the_text_at_the_end_of_a_run_has_the_warning_within_80_columns():
    def text(top1):
        about = {"config": {"dataset": {"evaluate_on": "test"}}, "summary": [], "folds": FOLDS}
        return closing_text(about | {"test": {"top1": top1, "examples": 682}})

    assert "than the folds suggest" not in text(0.75)
    warning = text(0.617)[text(0.617).index("Fewer test images are classified correctly") :].splitlines()
    assert len(warning) > 1 and all(len(line) <= 80 for line in warning)
