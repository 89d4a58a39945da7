import json
import resource

import numpy as np
import pytest

from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.reporting import metrics
from chimeramix_jax.reporting.metrics import MetricsLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "generator" / "metrics.jsonl"


def steps(path) -> list[int]:
    return [line["step"] for line in metrics.read(path)]


def test_every_measurement_is_a_json_line_that_is_readable_at_once(path):
    log = MetricsLog(path)
    log.write(stage="generator", epoch=1, step=10, loss=np.float32(0.5))
    assert json.loads(path.read_text()) == {"stage": "generator", "epoch": 1, "step": 10, "loss": 0.5}
    log.write(stage="generator", epoch=2, step=20, loss=0.25)
    assert [line["loss"] for line in metrics.read(path)] == [0.5, 0.25]


def test_non_finite_numbers_are_written_as_null(path):
    MetricsLog(path).write(step=1, loss=float("nan"), largest=float("inf"))
    assert path.read_text() == '{"step": 1, "loss": null, "largest": null}\n'


def test_a_reopened_log_is_appended_to(path):
    MetricsLog(path).write(step=1)
    MetricsLog(path).write(step=2)
    assert steps(path) == [1, 2]


def test_rewinding_removes_later_steps_and_keeps_the_rest(path):
    log = MetricsLog(path)
    for step in (10, 20, 30):
        log.write(step=step)
    log.rewind(20)
    assert steps(path) == [10, 20]
    log.write(step=21)
    assert steps(path) == [10, 20, 21]


def test_rewinding_before_the_first_line_creates_no_file(path):
    MetricsLog(path).rewind(0)
    assert not path.exists()


def test_an_incomplete_line_of_a_killed_run_is_dropped(path):
    MetricsLog(path).write(step=1)
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert steps(path) == [1]
    MetricsLog(path).write(step=2)
    assert steps(path) == [1, 2]


def test_a_file_that_is_not_a_log_is_rejected_by_line_and_left_unchanged(path):
    MetricsLog(path).write(step=1)
    with path.open("a") as file:
        file.write("hello\n")
    content = path.read_bytes()
    with pytest.raises(InputError, match="line 2"):
        MetricsLog(path)
    assert path.read_bytes() == content


def test_what_an_editor_leaves_is_read(path):
    MetricsLog(path).write(stage="generator", epoch=1, step=1)
    path.write_text(path.read_text() + '\n \n{"epoch": 1, "step": 2}\r\n{"epoch": 2, "step": 3}')
    assert steps(path) == [1, 2, 3]
    MetricsLog(path).write(epoch=2, step=4)
    assert steps(path) == [1, 2, 3, 4] and path.read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"epoch": "x", "loss": 1.0}', "epoch: 'x' is not allowed; it must be a whole number"),
        ('{"epoch": null}', "epoch: None is not allowed; it must be a whole number"),
        ('{"step": 1.5}', "step: 1.5 is not allowed; it must be a whole number"),
        ('{"step": -1}', "step: -1 is not allowed; it must be a whole number"),
        ('{"loss": "low"}', "loss: 'low' is not allowed; it must be a number or null"),
        ('{"loss": [1]}', r"loss: \[1\] is not allowed; it must be a number or null"),
        ('{"loss": NaN}', "loss: nan is not allowed; it must be a number or null"),
    ],
)
def test_anything_but_numbers_is_rejected_by_line_and_left_unchanged(path, line, problem):
    MetricsLog(path).write(step=1)
    content = path.read_bytes() + line.encode() + b"\n"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"metrics.jsonl: line 2: {problem}"):
        MetricsLog(path)
    assert path.read_bytes() == content


def test_a_full_disk_is_reported_with_the_file_and_earlier_lines_remain(path):
    log = MetricsLog(path)
    log.write(step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(
            StorageError, match=rf"{path}: cannot be written: File too large \(12 bytes needed, .* free"
        ):
            log.write(step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert steps(path) == [1]
    MetricsLog(path).write(step=2)
    assert steps(path) == [1, 2]
