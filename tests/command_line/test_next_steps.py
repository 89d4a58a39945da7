"""The lines below the results of a run."""

import pytest

from chimeramix_jax.command_line import actions


@pytest.mark.parametrize(
    ("dataset", "first"),
    [
        ("image_folder", "50.0% of 200 test photos were recognised; guessing would give 50%."),
        ("digits", "report:           "),
    ],
)
def test_a_run_on_own_photos_ends_with_a_plain_sentence(tmp_path, dataset, first):
    row = {"top_1": 0.5, "examples": 200}
    results = {"dataset": dataset, "summary": [row], "class_names": ["cat", "dog"], "test": {}}
    results |= {"config": {"dataset": {"evaluate_on": "test"}}}
    assert actions._next_steps(str(tmp_path), results) == ""
    (tmp_path / "report.html").touch()
    text = actions._next_steps(str(tmp_path), results)
    assert text.startswith(f"\n\n{first}") and f"report:           {tmp_path / 'report.html'}\n" in text
