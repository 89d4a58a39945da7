"""The loop of a process that starts other processes on idle workers and waits for them."""

import contextlib
import time
from typing import Protocol, runtime_checkable

from chimeramix_jax.runtime import stopping

SECONDS_BETWEEN_POLLS = 0.2


@runtime_checkable
class Pool(Protocol):
    """Workers and what runs on them."""

    def start(self) -> bool:
        """Starts what can be started; returns whether anything is running."""

    def show(self) -> None:
        """Shows what is running."""

    def collect(self, *, stopping_all: bool) -> None:
        """Records what has ended; ``stopping_all``: everything was asked to stop.

        After an error, the next call goes on with the rest.
        """

    def is_running(self) -> bool:
        """Whether anything is running."""

    def ask_to_stop(self) -> None:
        """Asks everything that is running to write a checkpoint and exit."""


def run(pool: Pool) -> None:
    """Starts and collects until nothing more can be started.

    After an error or a request to stop, which is raised in the end, waits until everything has written a checkpoint or
    has given up.
    """
    with stopping.before_ending(pool.ask_to_stop):
        _run(pool)


def _run(pool: Pool) -> None:
    try:
        while pool.start():
            stopping.raise_if_asked()
            pool.show()
            time.sleep(SECONDS_BETWEEN_POLLS)
            pool.collect(stopping_all=False)
    except BaseException:
        pool.ask_to_stop()
        while pool.is_running():
            time.sleep(SECONDS_BETWEEN_POLLS)
            with contextlib.suppress(Exception):  # the first error is the one to report, once all the others have ended
                pool.collect(stopping_all=True)
        raise
