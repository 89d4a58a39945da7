"""Fixtures for the tests of searches, whose runs train nothing (``fake_run.py``)."""

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from chimeramix_jax.command_line import program
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.sweep import local, polling, processes

FAKE = Path(__file__).with_name("fake_run.py")

# A search in a process of its own.
SEARCH = f"""
import sys
from chimeramix_jax.sweep import local, processes
local.jax_devices = lambda: ("cpu", 1)
processes.command = lambda arguments: [sys.executable, {str(FAKE)!r}, *arguments]
from chimeramix_jax.command_line import run
run("tune")
"""

RATE = "--search=classifier.learning_rate=0.01:0.9:log"


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Returns the arguments of all runs so far, a dictionary each."""
    path = tmp_path / "calls"
    monkeypatch.setenv("FAKE_CALLS", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def command_line(data_dir, tmp_path):
    """Returns the arguments of a search on the digits, in the folder ``search`` unless others say otherwise."""

    def made(*more, config="digits:baseline"):
        usual = {
            "--config": config,
            "--config.dataset.data_dir": data_dir,
            "--workdir": tmp_path / "search",
        }
        given = {argument.partition("=")[0] for argument in more}
        return [*(f"{flag}={value}" for flag, value in usual.items() if flag not in given), *more]

    return made


@pytest.fixture(scope="session")
def load_once():
    """Loads the same images only once."""
    loaded = {}

    def load(dataset, *numbers):
        key = (dataset.to_json(), *numbers)
        if key not in loaded:
            loaded[key] = load_few_shot(dataset, *numbers)
        return loaded[key]

    return load


@pytest.fixture
def tune(command_line, calls, load_once, monkeypatch, capsys):
    """Carries out a search in this process; returns exit code, standard output and standard error."""
    monkeypatch.setattr("chimeramix_jax.command_line.tune.load_few_shot", load_once)
    monkeypatch.setattr(local, "jax_devices", lambda: ("cpu", 1))
    monkeypatch.setattr(processes, "command", lambda given: [sys.executable, str(FAKE), *given])
    monkeypatch.setattr(polling, "SECONDS_BETWEEN_POLLS", 0.02)
    monkeypatch.setattr("chimeramix_jax.command_line.exits.quiet_libraries", lambda: None)

    def run(*more, **options):
        code = program.main(["tune", *command_line(*more, **options)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def start_tune(command_line, calls, start_process):
    """Starts a search in a process of its own; it is ended with the test."""

    def start(*more, seconds=0.0, processes=1):
        command = [sys.executable, "-c", SEARCH, *command_line(*more)]
        environment = os.environ | {"FAKE_SECONDS": str(seconds), "FAKE_PROCESSES": str(processes)}
        return start_process(command, ROOT, environment)

    return start
