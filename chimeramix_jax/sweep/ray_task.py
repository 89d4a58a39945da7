"""Carries out a task in a worker process of Ray, which may be on any node of the cluster.

The run is a process of its own, as with the other launchers. It ends with the worker process: when Ray kills that, when
the node dies, or when the command that submitted the task has ended. Ray then repeats the task on another node, where
the run continues from its last checkpoint.
"""

import contextlib
import fcntl
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep.lease import Lease
from chimeramix_jax.sweep.local import VISIBLE_GPUS
from chimeramix_jax.sweep.processes import RunProcess, Task

LEASES = "ray"  # in the folder of a sweep or search: the leases of its runs

_SECONDS_BETWEEN_POLLS = 0.2

# Variables that a run gets from its node, and all others from the command that submitted it.
_OF_THE_NODE = (*VISIBLE_GPUS, "ROCR_VISIBLE_DEVICES", "HOSTNAME", "TMPDIR")


@dataclass(frozen=True)
class RayRequest:
    """A task and what it needs."""

    task: Task
    submission: str  # unique
    folder: Path  # of the sweep or search; a full path
    current_folder: Path  # of the command, from which relative paths in the task start
    environment: Mapping[str, str]  # of the command
    cores: int | None  # the CPU cores that the run may use; None: all of the node
    gpus: int

    @property
    def leases(self) -> list[Path]:
        """The leases of its runs."""
        return [lease_of(self.folder, self.current_folder / workdir) for workdir in self.task.workdirs]


def lease_of(folder: Path, workdir: Path) -> Path:
    """Returns the path of a run's lease in the folder of its sweep or search; both are full paths."""
    place = folder / LEASES / workdir.relative_to(folder)
    return place.with_name(f"{place.name}.json")


def carry_out(request: RayRequest) -> tuple[int, float]:
    """Carries out a task; returns the exit code of its process, and the seconds that it took.

    Ray delivers a request to stop as SIGINT, to the main thread of its worker process, which calls this function.

    Raises:
        InputError: the node does not see the folders of the command that submitted the task.
        RuntimeError: another attempt has taken over.
    """
    host = socket.gethostname()
    for folder in (request.current_folder, request.folder / LEASES):
        if not folder.is_dir():
            raise InputError(f"{folder}: is not a folder on node {host}; all nodes must see it at the same path")
    os.chdir(request.current_folder)
    with _counting_requests() as requests:
        leases = [
            Lease(path, workdir, request.submission)
            for path, workdir in zip(request.leases, request.task.workdirs, strict=True)
        ]
        for lease in leases:
            lease.take(lambda: bool(requests))
        if requests:
            return stopping.exit_code(signal.SIGTERM), 0.0
        with _own_cores(request.cores) as cores:
            environment = _environment(request, len(cores) if cores else None)
            process = RunProcess(request.task, environment, cores, ends_with_parent=True)
            for lease in leases:
                lease.started(process.number)
            return _wait(process, leases, requests), process.seconds


def _wait(process: RunProcess, leases: list[Lease], requests: list[int]) -> int:
    """Waits for the end of a process, passes on each request to stop, and returns its exit code."""
    passed_on = 0
    while (code := process.poll()) is None:
        if len(requests) > passed_on:
            passed_on += 1
            process.ask_to_stop()
        if any(lease.is_lost() for lease in leases):
            process.kill()
            raise RuntimeError("another attempt has taken over")
        time.sleep(_SECONDS_BETWEEN_POLLS)
    return code


@contextlib.contextmanager
def _counting_requests() -> Iterator[list[int]]:
    """Keeps SIGINT from raising KeyboardInterrupt anywhere inside the ``with`` statement; yields a list of them."""
    requests: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: requests.append(number))
    try:
        yield requests
    finally:
        signal.signal(signal.SIGINT, before)


def _environment(request: RayRequest, cores: int | None) -> dict[str, str]:
    """Returns the environment of the run."""
    sent = {
        name: value
        for name, value in request.environment.items()
        if name not in _OF_THE_NODE and not name.startswith("RAY_")
    }
    own = {name: value for name, value in os.environ.items() if name in _OF_THE_NODE}
    hidden = {} if request.gpus else dict.fromkeys(VISIBLE_GPUS, "")
    threads = {} if cores is None else {"OMP_NUM_THREADS": str(cores)}
    return sent | own | hidden | threads


@contextlib.contextmanager
def _own_cores(count: int | None) -> Iterator[frozenset[int] | None]:
    """Reserves CPU cores of this node, which Ray counts, but does not assign; yields None if too few are free."""
    folder = Path(tempfile.gettempdir()) / f"chimeramix-cores-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    cores: list[int] = []
    with contextlib.ExitStack() as reserved:
        for core in sorted(os.sched_getaffinity(0)):
            if count is None or len(cores) == count:
                break
            file = reserved.enter_context(open(folder / str(core), "wb"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                cores.append(core)
        yield frozenset(cores) if count is not None and len(cores) == count else None
