"""Times how long ``main.py`` takes to write a checkpoint and exit when it must stop in the middle of an epoch.

    python -m benchmarks.stopping
    python -m benchmarks.stopping --config=configs/image_folder.py:baseline --config.dataset.directory=FOLDER

Starts the program in new directories, waits until it has finished the first epoch and some of the second, and sends
SIGTERM. Arguments are passed on to ``main.py``; with an experiment without a generator it times the classifier's stage.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 3
SECONDS_INTO_AN_EPOCH = (0.0, 1.0)
SECONDS_BETWEEN_LOOKS = 0.02


def main() -> None:
    """Prints the seconds of each round, the exit code, and the step of the last checkpoint."""
    import jax

    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}")
    for number in range(1, ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            print(f"round {number}: {stop_once(Path(folder), sys.argv[1:])}", flush=True)


def stop_once(folder: Path, arguments: list[str]) -> str:
    """Starts and stops the program once; returns the round's line."""
    workdir = folder / "run"
    with (folder / "output").open("w+") as output:
        command = [sys.executable, str(ROOT / "main.py"), f"--workdir={workdir}", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while not any(path.stat().st_size for path in workdir.glob("*/metrics.jsonl")):
                if process.poll() is not None:
                    output.seek(0)
                    sys.exit(f"main.py ended with exit code {process.returncode}: {output.read()}")
                time.sleep(SECONDS_BETWEEN_LOOKS)
            time.sleep(random.uniform(*SECONDS_INTO_AN_EPOCH))
            process.send_signal(signal.SIGTERM)
            signalled_at = time.monotonic()
            code = process.wait()
            seconds = time.monotonic() - signalled_at
        finally:
            process.kill()
            process.wait()
    steps = [int(path.name) for path in workdir.glob("*/checkpoints/*") if path.name.isdigit()]
    return f"{seconds:.2f} s, exit code {code}, checkpoint of step {max(steps, default='none')}"


if __name__ == "__main__":
    main()
