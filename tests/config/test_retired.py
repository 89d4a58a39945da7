"""Settings of earlier versions: refused where somebody sets them, understood where a run has stored them."""

import json
import shutil

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError


def stored_without_probability(**mixing):
    stored = settings.config_to_dict(settings.load("digits"))
    del stored["mixing"]["probability"]
    stored["mixing"] |= mixing
    return stored


@pytest.mark.parametrize("mixing", [{}, {"share": 1.0}])
def test_runs_that_mixed_every_batch_are_read_so(mixing):
    config = settings.from_dict(stored_without_probability(**mixing))
    assert config.mixing.probability == 1.0 and "share" not in config.mixing
    settings.check(config)


def test_runs_that_mixed_a_part_of_every_batch_are_usable_and_like_no_run_of_today():
    config = settings.from_dict(stored_without_probability(share=0.5))
    settings.check(config, stored=True)
    with pytest.raises(InputError, match=r"mixing\.share: no longer a setting"):
        settings.check(config)
    assert settings.differences(config, settings.load("digits")) == ["mixing.share: 0.5 there, not set asked"]


def test_settings_that_came_later_have_their_defaults_in_a_stored_run():
    stored = settings.config_to_dict(settings.load("digits"))
    del stored["deterministic"], stored["evaluation"]
    assert settings.differences(settings.from_dict(stored), settings.load("digits")) == []
    assert settings.from_dict(stored).evaluation.every_epochs == 10


def test_a_run_stored_with_a_share_still_predicts_and_reports_without_its_config_file(trained_run, tmp_path, run_main):
    old = tmp_path / "old"
    shutil.copytree(trained_run, old)
    stored = json.loads((old / "config.json").read_text())
    del stored["mixing"]["probability"]
    stored["mixing"]["share"] = 0.5
    (old / "config.json").write_text(json.dumps(stored))
    code, output, errors = run_main("--stage=predict", f"--workdir={old}", f"--images={old / 'mixing.png'}")
    assert code == 0 and "mixing.png" in output, errors
    (old / "report.html").unlink()
    code, _, errors = run_main("--stage=report", f"--workdir={old}")
    assert code == 0 and (old / "report.html").exists(), errors


def test_setting_a_share_is_answered_by_what_to_write_instead(run_main):
    code, output, errors = run_main("--config.mixing.share=0.5")
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1 and "mixing.share: no longer a setting" in errors
    assert "mixing.probability" in errors
