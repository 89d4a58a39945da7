"""Settings are changed in the same ways by every command."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import main_command, reproduce, sweep, tune
from chimeramix_jax.command_line.changed_settings import separated, spelled_out
from chimeramix_jax.errors import InputError

SPELLINGS = [
    (["--config.seed=1"], "--config.seed=1"),
    (["-config.seed=1"], "--config.seed=1"),
    (["--config.seed", "1"], "--config.seed=1"),
    (["-config.dataset.division", "-1"], "--config.dataset.division=-1"),
    (["--config.dataset.directory=a=b"], "--config.dataset.directory=a=b"),
    (["--config.dataset.directory="], "--config.dataset.directory="),
    (["--config.augment.mixup"], "--config.augment.mixup=true"),
    (["--config.augment.mixup=False"], "--config.augment.mixup=False"),
    (["--noconfig.augment.mixup"], "--config.augment.mixup=false"),
    (["--no-config.augment.mixup"], "--config.augment.mixup=false"),
    (["-noconfig.augment.mixup"], "--config.augment.mixup=false"),
]


@pytest.mark.parametrize(("written", "meant"), SPELLINGS, ids=[" ".join(written) for written, _ in SPELLINGS])
def test_every_spelling_means_the_same(written, meant):
    assert spelled_out(["first", *written, "--last"]) == ["first", meant, "--last"]
    assert separated(["first", *written, "--last"]) == ([meant], ["first", "--last"])


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        (main_command, []),
        (sweep, ["--datasets=digits", "--experiments=baseline"]),
        (tune, ["--config=digits:baseline"]),
        (reproduce, ["chimeramix"]),
    ],
    ids=["train", "sweep", "tune", "reproduce"],
)
def test_every_command_takes_all_spellings(module, needed):
    arguments = ["-config.classifier.epochs", "7", "--config.augment.cutout", "--noconfig.compare_with_baseline"]
    parsed = module.parse_arguments([*arguments, *needed])
    expected = ["classifier.epochs=7", "augment.cutout=true", "compare_with_baseline=false"]
    assert parsed.overrides == [f"--config.{change}" for change in expected]


def test_a_setting_may_be_changed_twice_to_the_same_value():
    arguments = ["--config.augment.mixup=True", "--config.augment.mixup", "--config.seed=1", "--config.seed", "1"]
    config = settings.load("digits:baseline")
    assert settings.override(config, spelled_out(arguments)) == []
    assert (config.augment.mixup, config.seed) == (True, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.seed=1", "--config.seed", "2"], "seed: is set twice, to '1' and '2'; set it once"),
        (["--config.augment.mixup", "--noconfig.augment.mixup"], "augment.mixup: is set twice, to 'true' and 'false'"),
        (["--noconfig.seed"], "--noconfig.seed: is not understood; write --config.seed=VALUE, with a whole number"),
        (["--noconfig.augment.mixup=true"], "--noconfig.augment.mixup=true: is not understood; write --config.augm"),
        (["--config.seed"], "--config.seed: its value is missing; write --config.seed=VALUE"),
        (["--config.seed", "--retrain"], "--config.seed: its value is missing"),
        (["--config.sed", "1"], "'sed': there is no such setting; did you mean seed?"),
        (["--noconfig.augment.mixp"], "'augment.mixp': there is no such setting; did you mean augment.mixup?"),
        (["--config.generator"], "generator: this is a group of settings"),
    ],
)
def test_a_change_that_is_not_clear_is_refused(arguments, message):
    with pytest.raises(InputError) as error:
        spelled_out(arguments)
    assert str(error.value).startswith(message)


def test_many_runs_have_no_limit_on_their_time():
    with pytest.raises(InputError, match=r"^minutes: only a single run is trained for a given time"):
        separated(["--config.minutes=5"])
    assert spelled_out(["--config.minutes=5"]) == ["--config.minutes=5"]
