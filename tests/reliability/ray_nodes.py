"""A real Ray cluster whose nodes are all on this machine: for tests, and for trying a sweep.

    python tests/reliability/ray_nodes.py

starts two nodes of one CPU each, prints the variables by which a sweep finds them, and stops them after Ctrl-C.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS_TO_START = 120

_PR_SET_PDEATHSIG = 1

# Ray lowers the priority of its workers, which would keep the tests waiting on a busy machine.
VARIABLES = {
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


class Nodes:
    """The nodes of a cluster; the first is its head, which has no CPU for runs and to which commands connect."""

    def __init__(self, folder: Path, port: int):
        self._folder, self._port = folder, port
        self._started: list[subprocess.Popen[bytes]] = []
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        # What commands need to connect. Without the token, others in this network could run programs here.
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}

    @property
    def address(self) -> str:
        """The address of the cluster."""
        return f"127.0.0.1:{self._port}"

    def start_head(self) -> None:
        """Starts the first node."""
        self._start("--head", f"--port={self._port}", "--num-cpus=0", f"--temp-dir={self._folder}")

    def start(self) -> int:
        """Starts another node, of one CPU; returns its index."""
        self._start(f"--address={self.address}", "--num-cpus=1")
        return len(self._started) - 1

    def kill(self, index: int) -> None:
        """Kills Ray's processes of a node at once; the runs in it have to end by themselves."""
        for process in descendants(self._started[index].pid):
            if b"--workdir=" not in command_of(process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self._started[index].wait()

    def node_of(self, process: int) -> int:
        """Returns the index of the node that a process belongs to."""
        return next(index for index, node in enumerate(self._started) if process in descendants(node.pid))

    def stop(self) -> None:
        """Kills everything that belongs to the nodes."""
        processes = [(one, start_of(one)) for node in self._started for one in descendants(node.pid)]
        for node in reversed(self._started):
            node.terminate()
        until = time.monotonic() + 20
        while time.monotonic() < until and any(node.poll() is None for node in self._started):
            time.sleep(0.1)
        for process, start in processes:
            if start is not None and start_of(process) == start:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for node in self._started:
            node.wait()

    def _start(self, *arguments: str) -> None:
        log = self._folder / f"node-{len(self._started)}.log"
        common = ["--block", "--disable-usage-stats", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1"]
        command = [str(Path(sys.executable).with_name("ray")), "start", *common, *arguments]
        command += ["--include-dashboard=false"] if "--head" in arguments else []
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        environment |= VARIABLES | self.variables
        with open(log, "wb") as output:
            self._started.append(
                subprocess.Popen(
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    process_group=0,
                    preexec_fn=_stop_with_parent,
                )
            )
        until = time.monotonic() + SECONDS_TO_START
        while b"This command will now block" not in log.read_bytes():
            if self._started[-1].poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Ray did not start:\n{log.read_text()}")
            time.sleep(0.2)


def _stop_with_parent() -> None:
    """Makes the kernel send SIGTERM to this process when its parent ends, so that killed tests leave no node behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Nodes]:
    """Runs a cluster of a head and this many nodes inside the ``with`` statement."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name:  # sockets: short
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        started = Nodes(Path(name), port)
        try:
            started.start_head()
            for _ in range(nodes):
                started.start()
            yield started
        finally:
            started.stop()


def descendants(process: int) -> list[int]:
    """Returns a process and all processes that it has started, directly or not, and that are running."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def start_of(process: int) -> str | None:
    """Returns when a process started, which tells it from a later one of the same number; None if it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def command_of(process: int) -> bytes:
    """Returns the command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    with cluster(2) as running, contextlib.suppress(KeyboardInterrupt):
        print(*(f"export {name}={value}" for name, value in running.variables.items()), sep="\n")
        print(f"export RAY_ADDRESS={running.address}", flush=True)
        time.sleep(24 * 3600)
