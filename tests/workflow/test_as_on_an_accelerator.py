"""A whole run in the programs of an accelerator, on CPU: its accuracy is that of the ordinary run, up to chance.

Takes minutes, since XLA:CPU is slow at these programs; ``python -m pytest -m slow`` runs it.
"""

import json
import math

import pytest

SEEDS, TEST_IMAGES = 2, 697
SETTINGS = {
    "compare_with_baseline": False,
    "seeds": "0,1",
    "classifier.batch_size": 32,
    "classifier.epochs": 5,
    "classifier.num_dataset_repeats_base": 50,
    "generator.epochs": 3,
    "generator.num_dataset_repeats_base": 10,
    "generator.residual_blocks": 2,
    "generator.decoder_residual_blocks": 0,
    "max_labels_per_class": 5,
}


def results(folder):
    return [json.loads((folder / f"seed-{seed}" / "results.json").read_text()) for seed in range(SEEDS)]


@pytest.mark.slow
def test_a_run_with_the_programs_of_an_accelerator_is_as_accurate_as_the_ordinary_one(run_main, tmp_path, monkeypatch):
    for name, forced in (("accelerator", "accelerator"), ("ordinary", "")):
        monkeypatch.setenv("CHIMERAMIX_BACKEND", forced)
        code, _, errors = run_main(f"--workdir={tmp_path / name}", **SETTINGS)
        assert code == 0, errors
    found = {name: results(tmp_path / name) for name in ("accelerator", "ordinary")}
    means = {name: sum(run["test"]["top1"] for run in runs) / SEEDS for name, runs in found.items()}
    assert {run["test"]["examples"] for run in found["accelerator"]} == {TEST_IMAGES}
    share = means["ordinary"]
    deviation = math.sqrt(
        2 * share * (1 - share) / (SEEDS * TEST_IMAGES)
    )  # of the difference, by the test images alone
    assert share > 0.7  # both learn; 10 % is guessing
    assert means["accelerator"] == pytest.approx(share, abs=4 * deviation)
