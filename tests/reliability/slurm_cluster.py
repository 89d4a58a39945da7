"""A real Slurm of one node, on this machine alone: for tests, and for trying a sweep.

    python tests/reliability/slurm_cluster.py

starts one, prints the variables that make Slurm's commands talk to it, and stops it after Ctrl-C. It needs root and
Debian's packages slurm-wlm and munge (``apt-get install slurm-wlm munge``).
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")

# A requeued job begins when its old credential has expired, which is two minutes unless something else is said.
CONFIGURATION = """
ClusterName=alone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=20
MinJobAge=60
OverTimeLimit=0
SchedulerParameters=sched_interval=2,bf_interval=2,defer
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=60 State=UP
"""


def missing() -> str | None:
    """Why no Slurm can be started here; None where one can."""
    absent = [name for name in DAEMONS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"there is no {' nor '.join(absent)} (apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextlib.contextmanager
def slurm(cpus: int = 2) -> Iterator[dict[str, str]]:
    """Runs a cluster inside the ``with`` statement; yields the variables that Slurm's commands need."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/var/tmp") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
        host = socket.gethostname().partition(".")[0]
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(host=host, folder=folder, cpus=cpus, **ports))
        variables = {"SLURM_CONF": str(configuration)}
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        munge = [f"--{part}-file={folder}/munge.{part}" for part in ("key", "pid", "log", "seed")]
        _start(daemons, ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge], folder, {})
        _wait_for(lambda: (folder / "munge.socket").exists(), folder)
        _start(daemons, ["slurmctld", "-D", "-c"], folder, variables)
        _start(daemons, ["slurmd", "-D", "-N", host], folder, variables)
        _wait_for(lambda: "idle" in _output(["sinfo", "--noheader", "--format=%t"], variables), folder)
        yield variables


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _start(daemons: contextlib.ExitStack, command: list[str], folder: Path, variables: dict[str, str]) -> None:
    path = shutil.which(command[0], path=_PATH)
    with open(folder / f"{command[0]}.out", "wb") as output:
        environment = os.environ | variables
        process = subprocess.Popen(
            [path, *command[1:]], stdout=output, stderr=subprocess.STDOUT, env=environment, process_group=0
        )
    daemons.callback(_end, process)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(there, folder: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not there():
        if time.monotonic() > until:
            said = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(folder.glob("*.[lo]*[gt]")))
            raise RuntimeError(f"Slurm did not start:\n{said}")
        time.sleep(0.2)


def _output(command: list[str], variables: dict[str, str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables).stdout


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(reason)
    with slurm() as started, contextlib.suppress(KeyboardInterrupt):
        print(*(f"export {key}={value}" for key, value in started.items()), sep="\n", flush=True)
        time.sleep(24 * 3600)
