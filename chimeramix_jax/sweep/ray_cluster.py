"""Runs on a Ray cluster: each task of a sweep or search is a task of Ray, which carries it out on a node with room.

Ray repeats a task if its node or worker process dies, and ends all tasks of a command that has ended, however it ended.
All nodes must see the folder of the sweep or search at the same path, as they share the files of the runs.
"""

import contextlib
import importlib.util
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, in_one_line
from chimeramix_jax.paths import make_folder
from chimeramix_jax.runtime import invocation, stopping
from chimeramix_jax.sweep import lease
from chimeramix_jax.sweep.processes import ERROR, LOG, Task, last_lines, write_error
from chimeramix_jax.sweep.ray_task import LEASES, RayRequest, carry_out

ANY, LOCAL = "auto", "local"  # addresses: a cluster that this machine belongs to, and a new one of this machine alone

REPETITIONS = 3  # of a task whose node or worker process died

SECONDS_TO_CONNECT = 30
_SECONDS_TO_REACH = 5.0

_BYTES_PER_GB = 2**30

_SECONDS_BETWEEN_LOOKS = 3.0  # at files on the nodes' shared file system, for the display

# Until then, files that another node has written must be visible here: file systems may show them late.
_SECONDS_UNTIL_VISIBLE = 60.0

_FAILED = 1  # the exit code of a task without a process of its own

_PROBE = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except Exception as error:
    sys.exit(" ".join(str(error.__cause__ or error).split()))
"""


@dataclass(frozen=True)
class RayResources:
    """The resources of a run."""

    cpus: int | None  # None: one, or on GPUs as many as there are, of which Ray counts one
    gpus: int | None
    memory_gb: int | None

    @property
    def options(self) -> dict[str, int]:
        """What Ray reserves for a run."""
        reserved = {"num_cpus": self.cpus or 1, "num_gpus": self.gpus or 0}
        return reserved | ({} if self.memory_gb is None else {"memory": self.memory_gb * _BYTES_PER_GB})

    @property
    def cores(self) -> int | None:
        """How many CPU cores a run may use; None: all of its node."""
        return None if self.cpus is None and self.gpus else self.cpus or 1

    def fit(self, node: Mapping[str, Any]) -> int:
        """Returns how many runs fit on a node, given as ``ray.nodes`` does, when nothing else runs there."""
        names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
        available = node["Resources"] if node["Alive"] else {}
        return min(int(available.get(names[name], 0) // count) for name, count in self.options.items() if count)

    def __str__(self) -> str:
        given = {"cpus": self.cpus, "gpus": self.gpus, "memory_gb": self.memory_gb}
        return " ".join(f"--ray_{name}={count}" for name, count in given.items() if count is not None) or "--ray_cpus=1"


def address_of(given: str | None) -> str:
    """Returns the address of the cluster: that of the flag, of ``RAY_ADDRESS``, or ``auto``."""
    return given or os.environ.get("RAY_ADDRESS") or ANY


def require(address: str) -> None:
    """Raises InputError unless Ray is installed and the cluster at this address answers."""
    if importlib.util.find_spec("ray") is None:
        how = invocation.installing("ray")
        raise InputError(f"--launcher=ray: Ray is not installed; run {how}, with the version of the cluster")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # By default, Ray repeats a task for ever whose worker it kills because the memory of the node is full.
    os.environ.setdefault("RAY_task_oom_retries", str(REPETITIONS))
    if address == LOCAL:
        return
    host, separator, port = address.rpartition(":")
    if "://" in address or (address != ANY and not (separator and host and re.fullmatch("[0-9]{1,5}", port))):
        raise InputError(
            f"--ray_address: {address!r} is not allowed; it must be HOST:PORT of a cluster that this machine belongs "
            f"to, {ANY}, or {LOCAL} for a cluster of this machine alone"
        )
    if address != ANY:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_REACH).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, str(error)) from None
    # In a process of its own, as Ray tries for minutes, prints a lot and may end the process that it is in.
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS_TO_CONNECT,
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no answer within {SECONDS_TO_CONNECT} seconds") from None
    if ended.returncode:
        raise _unreachable(address, next(reversed(ended.stderr.strip().splitlines()), f"exit code {ended.returncode}"))


def _unreachable(address: str, why: str) -> InputError:
    reason = in_one_line(why).removesuffix(".").partition(". ")[0]  # Ray adds advice about flags of its own
    return InputError(
        f"--ray_address={address}: no Ray cluster can be reached ({reason}); start one with ray start, name "
        f"another address, or use --ray_address={LOCAL} for this machine alone"
    )


@contextlib.contextmanager
def connected(address: str, folder: Path, resources: RayResources) -> Iterator["Cluster"]:
    """Connects to a cluster inside the ``with`` statement, for runs in this folder."""
    import ray

    folder = folder.absolute()
    make_folder(folder / LEASES)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Ray prints what happens in the cluster to standard output, where only this command's tables belong.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (RuntimeError, OSError, ValueError) as error:
            raise _unreachable(address, str(error)) from None
        signal.signal(signal.SIGTERM, on_sigterm)
        try:
            yield Cluster(folder, resources)
        finally:
            ray.shutdown()


class Cluster:
    """A cluster to which this process is connected."""

    def __init__(self, folder: Path, resources: RayResources):
        import ray

        self._folder, self._resources = folder, resources
        nodes = ray.nodes()
        self._slots = sum(resources.fit(node) for node in nodes)
        self._remote = ray.remote(carry_out).options(
            **resources.options, max_retries=REPETITIONS, retry_exceptions=False, name="chimeramix"
        )

    @property
    def slots(self) -> int:
        """How many runs fit in the cluster at the same time, as it is now; 0 if no node is large enough."""
        return self._slots

    @property
    def warning(self) -> str | None:
        """What the user should know if no node is large enough; clusters may grow, so it is not an error."""
        if self._slots:
            return None
        return f"no node of the cluster has room for a run with {self._resources} now; runs wait until one joins"

    def workers(self, count: int) -> list["RayWorker"]:
        """Returns workers, each of which submits one task at a time to Ray."""
        return [RayWorker(self._remote, self._folder, self._resources) for _ in range(count)]


class RayWorker:
    """Submits one task at a time to Ray."""

    def __init__(self, remote: Any, folder: Path, resources: RayResources):
        self._remote, self._folder, self._resources = remote, folder, resources

    def is_free(self, folder: Path) -> bool:
        """Whether a task can start in a run's directory: always, as it waits there for its lease."""
        return True

    def start(self, task: Task) -> "RayTask":
        """Submits a task."""
        for workdir in task.workdirs:
            make_folder(workdir)
            (workdir / ERROR).unlink(missing_ok=True)
        request = RayRequest(
            task=task,
            submission=uuid.uuid4().hex,
            folder=self._folder,
            current_folder=Path.cwd(),
            environment=dict(os.environ),
            cores=self._resources.cores,
            gpus=self._resources.gpus or 0,
        )
        return RayTask(self._remote.remote(request), request)


class RayTask:
    """A task that was submitted to Ray."""

    def __init__(self, reference: Any, request: RayRequest):
        """Takes Ray's reference to the result of ``carry_out`` and its argument."""
        self._reference, self._request = reference, request
        self._holder: lease.Holder | None = None  # this task's attempt, once it has started a process
        self._started_at = time.monotonic()
        self._look_again_at = 0.0
        self._seconds: float | None = None
        self._ended_at: float | None = None
        self._has_failed = False
        self._last_line = ""

    @property
    def has_started(self) -> bool:
        """Whether its process has started."""
        self._look()
        return self._holder is not None

    @property
    def seconds(self) -> float:
        """Seconds since its process started."""
        return time.monotonic() - self._started_at if self._seconds is None else self._seconds

    def poll(self) -> int | None:
        """Returns the exit code; None until the task has ended and its files can be read here."""
        import ray
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError

        if self._has_failed:
            return _FAILED
        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            code, self._seconds = ray.get(self._reference)
        except TaskCancelledError:
            return stopping.exit_code(signal.SIGTERM)
        except RayTaskError as error:
            return self._failed(in_one_line(str(error.cause)))
        except RayError as error:
            why = next(iter(str(error).strip().splitlines()), "")
            return self._failed(f"Ray gave up after {REPETITIONS + 1} attempts: {type(error).__name__}: {why}")
        return self._once_visible() if code == 0 else code

    def ask_to_stop(self) -> None:
        """Asks its process to write a checkpoint and exit, and does not start it if it waits."""
        import ray

        ray.cancel(self._reference, force=False)

    def last_line(self) -> str:
        """Returns the node and the last line that its process printed."""
        self._look()
        return self._last_line

    def _look(self) -> None:
        """Reads the files of the task from time to time, for the display."""
        if time.monotonic() < self._look_again_at:
            return
        self._look_again_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        current = lease.holder(self._request.leases[0])
        if current is None or current.submission != self._request.submission or not current.has_started:
            self._last_line = "waits for the cluster"
            return
        if self._holder is None:
            self._started_at = time.monotonic()
        self._holder = current
        with contextlib.suppress(FileNotFoundError):
            self._last_line = f"{current.host}: {_last(last_lines(self._request.task.workdirs[0] / LOG))}"

    def _once_visible(self) -> int | None:
        """Returns the exit code 0 once the files of a finished task can be read here."""
        task = self._request.task
        self._ended_at = self._ended_at or time.monotonic()
        missing = task.unfinished
        if not missing:
            return 0
        if time.monotonic() - self._ended_at < _SECONDS_UNTIL_VISIBLE:
            return None
        return self._failed(f"{missing[0]}: a node finished this run, but its files are not here; do all nodes see it?")

    def _failed(self, why: str) -> int:
        self._has_failed = True  # that the reason cannot be written is raised only once
        write_error(self._request.task, [why])
        return _FAILED


def _last(lines: Iterable[str]) -> str:
    return next(reversed(list(lines)), "")
