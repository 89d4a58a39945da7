"""Settings of earlier versions are refused in new runs and understood in stored ones."""

import shutil

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from tests.runs import stored_settings


def stored_without_probability(**mixing):
    stored = settings.config_to_dict(settings.load("digits"))
    del stored["mixing"]["probability"]
    stored["mixing"] |= mixing
    return stored


@pytest.mark.parametrize("mixing", [{}, {"share": 1.0}])
def test_stored_runs_that_mixed_every_batch_get_probability_one(mixing):
    config = settings.from_dict(stored_without_probability(**mixing))
    assert config.mixing.probability == 1.0 and "share" not in config.mixing
    settings.check(config)


def test_stored_runs_that_mixed_a_share_of_every_batch_are_usable_but_equal_no_run_of_today():
    config = settings.from_dict(stored_without_probability(share=0.5))
    settings.check(config, stored=True)
    with pytest.raises(InputError, match=r"mixing\.share: no longer a setting"):
        settings.check(config)
    assert settings.differences(config, settings.load("digits")) == ["mixing.share: 0.5 stored, not set requested"]


def test_settings_added_later_have_their_defaults_in_a_stored_run():
    stored = settings.config_to_dict(settings.load("digits"))
    del stored["deterministic"], stored["evaluation"]
    assert settings.differences(settings.from_dict(stored), settings.load("digits")) == []
    assert settings.from_dict(stored).evaluation.every_epochs == 10


def test_a_stored_run_with_a_share_can_predict_and_report_without_its_config_file(trained_run, tmp_path, run_here):
    old = tmp_path / "old"
    shutil.copytree(trained_run, old)

    def as_before(stored):
        del stored["mixing"]["probability"]
        stored["mixing"]["share"] = 0.5

    stored_settings.change(old, as_before)
    code, output, errors = run_here("--stage=predict", f"--workdir={old}", f"--images={old / 'mixing.png'}")
    assert code == 0 and "mixing.png" in output, errors
    (old / "report.html").unlink()
    code, _, errors = run_here("--stage=report", f"--workdir={old}")
    assert code == 0 and (old / "report.html").exists(), errors


def test_setting_a_share_is_refused_with_its_replacement(run_here):
    code, output, errors = run_here("--config.mixing.share=0.5")
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1 and "mixing.share: no longer a setting" in errors
    assert "mixing.probability" in errors
