"""Downloads wheels for a machine without a package index, and checks the size of everything to take along.

    python -m benchmarks.gpu.wheels --output=.wheels
    python -m benchmarks.gpu.wheels --output=.wheels --have=freeze.txt --images=cifar10.zip

``--have`` is the output of ``pip freeze`` on that machine (the part "check" writes it as ``freeze.txt``). Its packages
are left out, and the downloaded ones fit their versions. Without it, packages that come with JAX, Flax and PyTorch
count as installed, in any version. Prints what to do with the wheels. The exit code is 1 if everything together is too
large, or if the requirements cannot be met beside the installed packages.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gpu.items import ROOT

MOST_BYTES = 64 * 2**20  # of checkout, images and wheels together
MEGABYTE = 2**20
GLIBCS = (17, 24, 26, 27, 28, 31, 34)  # N of the manylinux_2_N platforms whose wheels fit

# Pure Python without a wheel in the index. It is built here, because pip accepts only wheels when it downloads for
# another machine.
BUILT = ("promise",)

_USUAL = (
    "absl-py aiofiles attrs certifi charset-normalizer chex click cloudpickle contourpy cycler einops etils "
    "filelock flax fonttools fsspec grpcio humanize idna imageio jax jaxlib jaxtyping jinja2 joblib kiwisolver "
    "lazy-loader lightning-utilities markdown-it-py markupsafe matplotlib mdurl ml-dtypes mpmath msgpack "
    "nest-asyncio networkx numpy opt-einsum optax orbax-checkpoint packaging pillow pip prometheus-client "
    "protobuf psutil pyarrow pygments pyparsing python-dateutil pyyaml requests rich scikit-image scikit-learn "
    "scipy setuptools simplejson six sympy tensorstore threadpoolctl tifffile toolz torch tqdm treescope "
    "typing-extensions urllib3 uvloop wadler-lindig wheel wrapt zipp "
)


def main() -> None:
    """Downloads the wheels."""
    arguments = parse_arguments()
    there = usual() if arguments.have is None else frozen(Path(arguments.have).read_text())
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    for wheel in output.glob("*.whl"):  # there must not be two versions of a package
        wheel.unlink()
    needed = resolved(arguments.python, there)
    missing = {name: version for name, version in needed.items() if name not in there}
    for name, version in missing.items():
        download(name, version, arguments.python, output)
    print(f"{len(needed)} packages are needed, {len(needed) - len(missing)} of them are installed")
    sizes, images = {"wheels": size_of([output])}, [Path(arguments.images)] if arguments.images else []
    sizes["checkout"] = size_of(checkout([output, *images]))
    sizes |= {"images": size_of(images)} if images else {}
    for name, size in sizes.items():
        print(f"  {name:10}  {size / MEGABYTE:6.1f} MB")
    total = sum(sizes.values())
    print(f"  {'together':10}  {total / MEGABYTE:6.1f} MB of {MOST_BYTES / MEGABYTE:.0f} MB")
    print(f"Take {output} along. On that machine, before every command:")
    print(f"  python3 -m pip install -q --no-index --no-deps --target=/tmp/wheels {output}/*.whl")
    print("  export PYTHONPATH=/tmp/wheels")
    if total > MOST_BYTES:
        sys.exit(f"wheels: {(total - MOST_BYTES) / MEGABYTE:.1f} MB too much")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="version of Python on that machine")
    parser.add_argument("--have", help="file with the output of pip freeze on that machine")
    parser.add_argument("--output", required=True, help="folder for the wheels; existing wheels in it are deleted")
    parser.add_argument("--images", help="folder or .zip of images to take along")
    parsed = parser.parse_args(arguments)
    if not re.fullmatch(r"3\.\d+", parsed.python):
        parser.error(f"--python: {parsed.python!r} must be a version such as 3.12")
    for name in ("have", "images"):
        path = getattr(parsed, name)
        if path is not None and not Path(path).exists():
            parser.error(f"--{name}: {path} does not exist")
    return parsed


def normalized(name: str) -> str:
    """Returns a package's name in the form that the index compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def frozen(text: str) -> dict[str, str | None]:
    """Returns the packages of a ``pip freeze``; the version is None if no index has it, such as ``2.11.0+cu130``."""
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9][\w.\-]*)\s*(?:==\s*(\S+)|@)", line):
            version = match[2]
            found[normalized(match[1])] = None if version is None or "+" in version else version
    return found


def usual() -> dict[str, str | None]:
    """Returns the packages that count as installed, in any version."""
    return dict.fromkeys(map(normalized, _USUAL.split()))


def target(python: str) -> list[str]:
    """Returns pip's arguments that choose wheels for another Python on Linux."""
    platforms = [f"--platform=manylinux_2_{number}_x86_64" for number in GLIBCS]
    platforms += [f"--platform=manylinux{name}_x86_64" for name in ("1", "2010", "2014")]
    return ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *platforms]


def resolved(python: str, there: dict[str, str | None]) -> dict[str, str]:
    """Returns all packages that the requirements need, with versions that fit the installed packages."""
    with tempfile.TemporaryDirectory() as folder:
        for name in BUILT:
            pip("wheel", "--no-deps", f"--wheel-dir={folder}", name)
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in there.items() if version))
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", f"--target={folder}/nowhere", f"--report={report}"]
        fitting = [
            f"--find-links={folder}",
            f"--constraint={constraints}",
            f"--requirement={ROOT / 'requirements.txt'}",
        ]
        pip("install", *options, *target(python), *fitting)
        chosen = (one["metadata"] for one in json.loads(report.read_text())["install"])
        return {normalized(one["name"]): one["version"] for one in chosen}


def download(name: str, version: str, python: str, output: Path) -> None:
    """Downloads or builds a package's wheel into a folder."""
    if name in BUILT:
        pip("wheel", "--no-deps", f"--wheel-dir={output}", f"{name}=={version}")
    else:
        pip("download", "--no-deps", f"--dest={output}", *target(python), f"{name}=={version}")


def pip(command: str, *arguments: str) -> None:
    """Runs pip.

    Raises:
        SystemExit: pip failed; the message has the end of its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"wheels: pip {command} failed: {done.stderr.strip()[-1500:]}")


def checkout(apart: Sequence[Path] = ()) -> list[Path]:
    """Returns the checkout's files: those that git tracks, and others that it does not ignore.

    Files and folders in ``apart``, which are counted by themselves, are left out.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    elsewhere = [path.resolve() for path in apart]
    found = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in found if not any(path.resolve().is_relative_to(one) for one in elsewhere)]


def size_of(paths: Sequence[Path] | Iterator[Path]) -> int:
    """Returns the bytes of files and of everything in folders."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.lstat().st_size for file in inside if file.is_file())
    return total


if __name__ == "__main__":
    main()
