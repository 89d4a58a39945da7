"""A whole run in the programs of an accelerator, on CPU: its accuracy is that of the ordinary run, up to chance.

Takes minutes, since XLA:CPU is slow at these programs; ``python -m pytest -m slow`` runs it.
"""

import json
import math

import pytest

TEST_IMAGES = 697
SETTINGS = {
    "compare_with_baseline": False,
    "classifier.batch_size": 32,
    "classifier.epochs": 3,
    "classifier.num_dataset_repeats_base": 50,
    "generator.epochs": 1,
    "generator.num_dataset_repeats_base": 10,
    "generator.residual_blocks": 2,
    "generator.decoder_residual_blocks": 0,
    "max_labels_per_class": 5,
}


@pytest.mark.slow
def test_a_run_with_the_programs_of_an_accelerator_is_as_accurate_as_the_ordinary_one(run_main, tmp_path, monkeypatch):
    programs = {"ordinary": "", "accelerator": "accelerator"}
    for name, forced in programs.items():
        monkeypatch.setenv("CHIMERAMIX_BACKEND", forced)
        if forced:  # its steps take longer than their compilation, so XLA had better optimize them
            monkeypatch.delenv("XLA_FLAGS")
        code, _, errors = run_main(f"--workdir={tmp_path / name}", **SETTINGS)
        assert code == 0, errors
    found = {name: json.loads((tmp_path / name / "results.json").read_text())["test"] for name in programs}
    assert found["accelerator"]["examples"] == TEST_IMAGES
    share = found["ordinary"]["top1"]
    deviation = math.sqrt(2 * share * (1 - share) / TEST_IMAGES)  # of the difference, by the test images alone
    assert share > 0.65  # both learn; 10 % is guessing
    assert found["accelerator"]["top1"] == pytest.approx(share, abs=4 * deviation)
