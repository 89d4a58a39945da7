"""Tests of leases, with locks of other machines that are written by hand."""

import json
import os
import socket
import subprocess
import sys

import pytest

from chimeramix_jax.runs import lock
from chimeramix_jax.sweep import lease
from chimeramix_jax.sweep.lease import Lease, holder

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(lease, "SECONDS_TO_NOTICE", 0.3)
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_CHECKS", 0.0)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def attempt(tmp_path, run):
    """Makes attempts at the run, on this machine unless the host is named."""

    def made(host=HERE, submission="first"):
        made = Lease(tmp_path / "lease.json", run, submission)
        made._host = host
        return made

    return made


def write_lock(run, host, process):
    (run / lock.NAME).write_text(json.dumps({"host": host, "process": process}))


def test_an_attempt_knows_when_another_has_taken_over(attempt, tmp_path):
    first, second = attempt(), attempt()
    first.take(lambda: False)
    first.started(17)
    assert not first.is_lost()
    held = holder(tmp_path / "lease.json")
    assert (held.submission, held.host, held.process, held.has_started) == ("first", HERE, 17, True)
    second.take(lambda: False)
    assert first.is_lost() and not second.is_lost()
    assert not holder(tmp_path / "lease.json").has_started


def test_the_lock_of_an_attempt_on_a_lost_machine_is_removed_after_a_while(attempt, run):
    lost = attempt(host="lost")
    lost.take(lambda: False)
    lost.started(17)
    write_lock(run, "lost", 17)
    died_early = attempt(host="elsewhere")
    died_early.take(lambda: True)  # while it waits: the lock is still there
    assert (run / lock.NAME).exists()
    attempt().take(lambda: False)
    with lock.locked(run):
        pass


@pytest.mark.parametrize(("host", "process"), [("lost", 18), ("other", 17), (HERE, 17)])
def test_any_other_lock_stays_and_nothing_waits_for_it(attempt, run, monkeypatch, host, process):
    monkeypatch.setattr(lease, "SECONDS_TO_NOTICE", 60.0)
    lost = attempt(host="lost")
    lost.take(lambda: False)
    lost.started(17)
    write_lock(run, host, process)
    attempt().take(lambda: False)
    assert (run / lock.NAME).exists()


def test_a_lock_on_this_machine_stays_while_its_process_lives_and_is_no_obstacle_then(attempt, run):
    first = attempt()
    first.take(lambda: False)
    first.started(os.getpid())
    with lock.locked(run):
        attempt().take(lambda: False)
        assert (run / lock.NAME).exists()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_lock(run, HERE, ended.pid)
    attempt().take(lambda: False)
    with lock.locked(run):
        pass


def test_a_damaged_or_missing_file_is_no_holder(tmp_path, attempt):
    first = attempt()
    first.take(lambda: False)
    for content in ("", "[]", '{"host": 1}', "{"):
        (tmp_path / "lease.json").write_text(content)
        assert holder(tmp_path / "lease.json") is None
        assert not first.is_lost()
