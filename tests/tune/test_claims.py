"""Which process works on what."""

import json
import os
import socket

import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.tune import claims
from chimeramix_jax.tune.claims import Claims


@pytest.fixture
def elsewhere(tmp_path):
    """Makes the claim of a process on another machine, which it renewed some seconds ago."""

    def make(name, seconds, host="elsewhere"):
        path = tmp_path / name / "lock.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"host": host, "process": 1}))
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))

    return make


def test_a_claim_has_one_owner_until_it_is_dropped(tmp_path):
    mine, other = Claims(tmp_path), Claims(tmp_path)
    assert mine.take("trial-1") and mine.holds("trial-1")
    assert not other.take("trial-1") and not mine.take("trial-1") and not other.is_lost("trial-1")
    assert other.take("trial-2")
    mine.drop("trial-1")
    assert other.take("trial-1")
    mine.drop("trial-1")  # does nothing, as it is another's
    assert not mine.take("trial-1")
    other.drop("trial-1")
    other.drop("trial-2")


def test_what_a_process_on_this_machine_left_behind_is_free(tmp_path, elsewhere):
    elsewhere("trial-1", 0, host=socket.gethostname())
    mine = Claims(tmp_path)
    assert mine.take("trial-1")
    mine.drop("trial-1")


def test_a_process_elsewhere_is_lost_once_it_has_been_silent_for_long(tmp_path, elsewhere):
    elsewhere("trial-1", claims.SECONDS_UNTIL_LOST - 60)
    elsewhere("trial-2", claims.SECONDS_UNTIL_LOST + 60)
    mine = Claims(tmp_path)
    assert not mine.take("trial-1") and not mine.is_lost("trial-1")
    assert not mine.take("trial-2") and mine.is_lost("trial-2")
    assert not mine.is_lost("trial-3")


def test_renewing_shows_that_the_process_is_alive(tmp_path, monkeypatch):
    mine = Claims(tmp_path)
    assert mine.take("trial-1")
    path = tmp_path / "trial-1" / "lock.json"
    os.utime(path, (0, 0))
    mine.renew()
    assert path.stat().st_mtime == 0  # not so soon
    monkeypatch.setattr(claims, "SECONDS_BETWEEN_RENEWALS", 0.0)
    mine.renew()
    assert path.stat().st_mtime > 0
    mine.drop("trial-1")


def test_waiting_for_a_claim_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_SECONDS_TO_WAIT", 0.1)
    mine, other = Claims(tmp_path), Claims(tmp_path)
    too_long = pytest.raises(InputError, match="held by another process for too long")
    with mine.briefly("next"), too_long, other.briefly("next"):
        pass
    with other.briefly("next"):
        pass
