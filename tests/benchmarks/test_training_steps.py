"""The command that times training steps takes settings, and refuses wrong ones before anything is compiled."""

import sys

import pytest

from benchmarks import training_steps


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--config.classifier.convolutions=wavelet", "classifier.convolutions: 'wavelet'"),
        ("--config.classifier.kernel=3", "classifier.kernel"),
        ("--precision=float32", "unknown: --precision=float32"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(monkeypatch, capsys, argument, problem):
    monkeypatch.setattr(sys, "argv", ["training_steps", "digits:baseline", argument])
    with pytest.raises(SystemExit) as exit:
        training_steps.main()
    assert exit.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "error:" in line)
    assert problem in line
