"""Times ``main.py`` until its first training step, without and with the compiled programs of an earlier run.

    python -m benchmarks.startup
    python -m benchmarks.startup --config=configs/cifair10.py --config.dataset.archive=ciFAIR-10.zip

Starts the program in new directories with a separate compilation cache, and waits for the first checkpoint, which is
written right after the first step and counts too. Arguments are passed on to ``main.py``.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = ("first run", "second run", "third run")
SECONDS_BETWEEN_LOOKS = 0.02


def main() -> None:
    """Prints the seconds of each run."""
    import jax

    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(RUNS):
            seconds = to_the_first_step(Path(folder), Path(folder) / str(number) / "run", sys.argv[1:])
            print(f"{name:12}  {seconds:5.1f} s", flush=True)


def to_the_first_step(folder: Path, workdir: Path, arguments: list[str]) -> float:
    """Returns the seconds from the program's start to its first complete checkpoint, and then kills the program."""
    command = [sys.executable, str(ROOT / "main.py"), "--config.checkpoint.every_seconds=1e-9", f"--workdir={workdir}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    started = time.monotonic()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen([*command, *arguments], env=environment, stdout=output, stderr=output)
        try:
            while not any(path.name.isdigit() for path in workdir.glob("*/checkpoints/*")):
                if process.poll() is not None:
                    output.seek(0)
                    sys.exit(f"main.py ended with exit code {process.returncode}: {output.read()}")
                time.sleep(SECONDS_BETWEEN_LOOKS)
            return time.monotonic() - started
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
