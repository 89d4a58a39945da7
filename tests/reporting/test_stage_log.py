import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.picture_folder import pictures_by_epoch
from chimeramix_jax.reporting.stage_log import StageLog

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None or importlib.util.find_spec("tensorboardX") is None,
    reason="tensorboard and tensorboardX are not installed",
)
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")

PICTURE = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))


@pytest.fixture
def config():
    return defaults.get_config()


@pytest.fixture
def train(tmp_path, config):
    """Logs the epochs of a stage as the training loop does; returns the stage's directory."""

    def log_epochs(first: int, last: int, steps: int = 10):
        log = StageLog(tmp_path / "run" / "generator", config.logging, settings.config_to_dict(config))
        log.rewind((first - 1) * steps)
        with log:
            for epoch in range(first, last + 1):
                log.write_pictures({"mixing": PICTURE}, epoch=epoch, step=epoch * steps)
                losses = {"reconstruction": np.float32(1 / epoch), "learning_rate": 0.1}
                log.write(stage="generator", epoch=epoch, step=epoch * steps, **losses)
        return tmp_path / "run" / "generator"

    return log_epochs


def event_files(directory):
    return sorted(directory.glob("events.out.tfevents.*"))


def test_a_stage_writes_metrics_and_pictures_by_epoch_and_nothing_else(train):
    directory = train(1, 2)
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["reconstruction"]) for line in lines] == [(1, 10, 1.0), (2, 20, 0.5)]
    assert list(pictures_by_epoch(directory / "pictures", "mixing")) == [1, 2]
    with Image.open(pictures_by_epoch(directory / "pictures", "mixing")[2]) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(PICTURE))
    assert {path.name for path in directory.iterdir()} == {"metrics.jsonl", "pictures"}


def test_a_resumed_stage_has_every_epoch_once(train):
    train(1, 3)
    directory = train(2, 4)
    epochs = [json.loads(line)["epoch"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3, 4]
    assert list(pictures_by_epoch(directory / "pictures", "mixing")) == [1, 2, 3, 4]


@needs_tensorboard
def test_tensorboard_shows_every_step_of_a_resumed_stage_once(train, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config.logging.tensorboard = True
    train(1, 3)
    directory = train(3, 4)  # killed after epoch 3, whose checkpoint was not written
    assert len(event_files(directory)) == 2
    events = EventAccumulator(str(directory)).Reload()
    losses = events.Scalars("generator/reconstruction")
    assert [event.step for event in losses] == [10, 20, 30, 40]
    assert [event.value for event in losses] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert [event.value for event in events.Scalars("generator/learning_rate")] == pytest.approx([0.1] * 4)
    assert [(event.step, event.width, event.height) for event in events.Images("mixing")][-1] == (40, 8, 8)


@needs_tensorboard
def test_tensorboard_receives_non_finite_values(tmp_path, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config.logging.tensorboard = True
    with StageLog(tmp_path, config.logging, settings.config_to_dict(config)) as log:
        log.rewind(0)
        log.write(stage="classifier", epoch=1, step=1, loss=float("nan"))
    assert np.isnan(EventAccumulator(str(tmp_path)).Reload().Scalars("classifier/loss")[0].value)


@pytest.mark.parametrize(
    ("key", "value", "module"), [("tensorboard", True, "tensorboardX"), ("wandb", "offline", "wandb")]
)
def test_a_sink_without_its_package_is_rejected_and_the_package_named(config, monkeypatch, key, value, module):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find_spec(name))
    settings.check(config)
    config.logging[key] = value
    with pytest.raises(InputError, match=f"logging.{key}.*pip install {module}"):
        settings.check(config)


@needs_wandb
def test_a_resumed_stage_keeps_its_wandb_id(train, config, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", "")
    config.logging.wandb = "offline"
    train(1, 2)
    directory = train(3, 3)
    run_id = (directory / "wandb_run_id.txt").read_text()
    files = sorted((directory / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert len(files) in (1, 2)  # wandb names folders by the second, so two may coincide
    assert b"generator/reconstruction" in b"".join(path.read_bytes() for path in files)


@needs_wandb
def test_wandb_online_is_rejected_if_nobody_is_logged_in(tmp_path, config, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config.logging.wandb = "online"
    with pytest.raises(InputError, match="wandb login"):
        StageLog(tmp_path, config.logging, settings.config_to_dict(config))
