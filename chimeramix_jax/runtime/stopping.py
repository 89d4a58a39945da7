"""Stops a run on a signal: at the next point where it can write a checkpoint, or at once on a second signal.

Python's signal handlers only run after a compiled call has returned. Here a thread receives the signals instead, so it
can end the process on a second signal, or if the call takes too long.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

# Slurm sends SIGTERM before it takes a machine away; users of Slurm often choose SIGUSR1 as an earlier warning. SIGHUP
# comes when the terminal is closed or the connection is lost, and is ignored where nohup started the process.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

# After this time the process ends without another checkpoint; schedulers wait 10 s or more before they kill it.
SECONDS_TO_STOP = 8.0

_SECONDS_TO_WRITE = 1.0  # the last line

CONTINUES = "the same command continues the run from its last checkpoint"


class Stopped(BaseException):
    """The run stopped on a signal and saved its progress. This is not an error: ``except Exception`` ignores it."""

    def __init__(self, request: signal.Signals):
        super().__init__(request.name)
        self.exit_code = exit_code(request)


def exit_code(request: signal.Signals) -> int:
    """Returns 130 for SIGINT (Ctrl-C) and 143 for all other signals, as a shell reports for SIGTERM."""
    return 128 + (signal.SIGINT if request == signal.SIGINT else signal.SIGTERM)


class _Requests:
    """The first signal, whether the main thread has responded, and what to do and say if the process ends at once."""

    def __init__(self):
        self.first: signal.Signals | None = None
        self.heard = threading.Event()  # set when the main thread has reached a point where it can stop
        self.farewells: list[Callable[[], None]] = []
        self.after_stop = CONTINUES


_requests = _Requests()


@contextlib.contextmanager
def listening(after_stop: str = CONTINUES) -> Iterator[None]:
    """Replaces the signals' default effect inside the ``with`` statement: ``raise_if_asked`` reports them.

    ``after_stop`` says what the user should know if the process has to end at once.

    A signal that was ignored when the process started stays ignored; shells ignore SIGINT in background jobs, and nohup
    ignores SIGHUP. Works in the main thread only.
    """
    _requests.after_stop = after_stop
    try:
        with _received_by(_listen, SIGNALS):
            yield
    finally:
        _requests.first = None
        _requests.heard.clear()


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Ends the process with exit code 0 on SIGINT or SIGTERM inside the ``with`` statement, whatever it is doing.

    This is for processes that have nothing to save. Ignored signals stay ignored, and it works in the main thread only.
    """
    with _received_by(_end_when_asked, (signal.SIGINT, signal.SIGTERM)):
        yield


@contextlib.contextmanager
def _received_by(listen: Callable[[int], None], signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Calls ``listen`` in a thread, with a pipe from which it reads the numbers of signals until the pipe is closed."""
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    before = {number: signal.getsignal(number) for number in signals}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    wakeup_before = signal.set_wakeup_fd(sender)
    for number in heeded:
        signal.signal(number, lambda *_: None)  # Python still writes the number to the pipe
    listener = threading.Thread(target=listen, args=(receiver,), name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
        signal.set_wakeup_fd(wakeup_before)
        os.close(sender)  # ends the listener
        listener.join()
        os.close(receiver)


@contextlib.contextmanager
def before_ending(farewell: Callable[[], None]) -> Iterator[None]:
    """Calls ``farewell`` if the process has to end at once inside the ``with`` statement."""
    _requests.farewells.append(farewell)
    try:
        yield
    finally:
        _requests.farewells.remove(farewell)


def raise_if_asked() -> None:
    """Raises Stopped if a signal has arrived. Call this wherever a run can stop without losing progress."""
    if _requests.first is not None:
        _requests.heard.set()
        raise Stopped(_requests.first)


def _listen(receiver: int) -> None:
    """Reads signal numbers from the pipe until it is closed."""
    while True:
        waiting = _requests.first is not None and not _requests.heard.is_set()
        ready, _, _ = select.select([receiver], [], [], SECONDS_TO_STOP if waiting else None)
        if not ready:
            if not _requests.heard.is_set():
                _end_at_once(_requests.first, "could not write a checkpoint in time")
            continue
        numbers = os.read(receiver, 1)
        if not numbers:
            return
        first = _requests.first
        # The system and the shell both send SIGHUP when a terminal is closed, and some send it beside SIGTERM.
        if numbers[0] not in SIGNALS or (first is not None and numbers[0] == signal.SIGHUP):
            continue
        if first not in (None, signal.SIGHUP):
            _end_at_once(signal.Signals(numbers[0]), "second signal")
        _requests.first = signal.Signals(numbers[0])


def _end_when_asked(receiver: int) -> None:
    """Ends the process at the first signal."""
    while numbers := os.read(receiver, 1):
        if numbers[0] in (signal.SIGINT, signal.SIGTERM):
            try:
                _briefly(_flush)
            finally:
                os._exit(0)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _end_at_once(request: signal.Signals | None, why: str) -> None:
    """Ends the process, whatever fails or blocks on the way.

    The farewells come last, since they give back the lock of a directory that the process must no longer change then.
    """
    assert request is not None
    text = f"chimeramix: stopped at once ({request.name}, {why}); {_requests.after_stop}"
    try:
        _briefly(lambda: print(text, file=sys.stderr, flush=True))
        for farewell in list(_requests.farewells):
            with contextlib.suppress(Exception):
                farewell()
    finally:
        os._exit(exit_code(request))


def _briefly(write: Callable[[], None]) -> None:
    """Writes what is said in the end, but does not wait for a reader that does not read."""

    def attempt() -> None:
        with contextlib.suppress(Exception):
            write()

    writer = threading.Thread(target=attempt, name="farewell", daemon=True)
    writer.start()
    writer.join(_SECONDS_TO_WRITE)
