import io
import sys

import pytest

from chimeramix_jax.sweep.display import Display

RUNNING = [("digits-baseline-5-per-class-seed-0", 75.0, "classifier: 10/50 steps (20%)")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_lines_are_permanent_and_only_a_terminal_gets_a_table(stream, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stream())
    with Display() as display:
        display.show(RUNNING, "0 done, 1 to do")
        display.print("[1/1] digits-baseline-5-per-class-seed-0: done in 2m 10s, accuracy 93.40%")
    shown = sys.stderr.getvalue()
    assert "[1/1] digits-baseline-5-per-class-seed-0: done in 2m 10s, accuracy 93.40%\n" in shown.replace("\r", "")
    assert ("classifier: 10/50 steps (20%)" in shown) == ("1m 15s" in shown) == (stream is Terminal)
