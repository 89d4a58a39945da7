"""Stopping a run on request: at the next point where a checkpoint can be written, or at once if asked twice.

Python's own signal handlers wait until a compiled call returns. Here a thread is told of signals instead, so that a
second one, or a call that takes too long, is answered in any case.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator

# SIGTERM is also what Slurm sends before it takes a machine away, and SIGUSR1 what its users choose to be warned by.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

SECONDS_TO_STOP = 8.0  # until the process is ended without another checkpoint: schedulers wait 10 s and more


class Stopped(BaseException):
    """The run was asked to stop, and what it had reached has been kept. Not an error, so no ``except`` takes it."""

    def __init__(self, request: signal.Signals):
        """Notes down which signal it was."""
        super().__init__(request.name)
        self.exit_code = exit_code(request)


def exit_code(request: signal.Signals) -> int:
    """130 for an interruption from the keyboard, else 143, as a shell reports a process that SIGTERM ended."""
    return 128 + (signal.SIGINT if request == signal.SIGINT else signal.SIGTERM)


class _Requests:
    """What has been asked of this process, and what has to be done before it ends without warning."""

    def __init__(self):
        self.first: signal.Signals | None = None
        self.heard = threading.Event()  # the main thread has reached a point where it can stop
        self.farewells: list[Callable[[], None]] = []


_requests = _Requests()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Takes the signals' default effect away: from now on ``raise_if_asked`` tells of them.

    A signal that the process was started to ignore, as a shell does for what runs in the background, stays ignored.
    Works in the main thread only.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    wakeup_before = signal.set_wakeup_fd(sender)
    for number in heeded:
        signal.signal(number, lambda *_: None)  # Python writes the number to the pipe all the same
    listener = threading.Thread(target=_listen, args=(receiver,), name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
        signal.set_wakeup_fd(wakeup_before)
        os.close(sender)  # which ends the listener
        listener.join()
        os.close(receiver)
        _requests.first = None
        _requests.heard.clear()


@contextlib.contextmanager
def before_ending(farewell: Callable[[], None]) -> Iterator[None]:
    """Has ``farewell`` called should the process end at once inside the ``with`` statement."""
    _requests.farewells.append(farewell)
    try:
        yield
    finally:
        _requests.farewells.remove(farewell)


def raise_if_asked() -> None:
    """Called wherever a run can stop without losing anything.

    Raises:
        Stopped: it was asked to.
    """
    if _requests.first is not None:
        _requests.heard.set()
        raise Stopped(_requests.first)


def _listen(receiver: int) -> None:
    """Reads the signals' numbers from the pipe until it is closed."""
    while True:
        waiting = _requests.first is not None and not _requests.heard.is_set()
        ready, _, _ = select.select([receiver], [], [], SECONDS_TO_STOP if waiting else None)
        if not ready:
            if not _requests.heard.is_set():
                _end_at_once(_requests.first, "had no chance to write a checkpoint in time")
            continue
        numbers = os.read(receiver, 1)
        if not numbers:
            return
        if numbers[0] not in SIGNALS:
            continue
        if _requests.first is not None:
            _end_at_once(signal.Signals(numbers[0]), "asked twice")
        _requests.first = signal.Signals(numbers[0])


def _end_at_once(request: signal.Signals | None, why: str) -> None:
    assert request is not None
    for farewell in _requests.farewells:
        farewell()
    print(
        f"chimeramix: stopped at once ({request.name}, {why}); "
        "the same command continues the run from its last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(exit_code(request))
