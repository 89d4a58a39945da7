"""The wheel, built from a copy of the sources and installed where no repository is near."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FROM_THE_REPOSITORY = ("chimeramix_jax", "configs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    sources = tmp_path_factory.mktemp("sources") / "copy"
    for name in FROM_THE_REPOSITORY:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={sources.parent}", sources)
    (built,) = sources.parent.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def chimeramix(wheel, tmp_path_factory):
    """Runs the installed console command in an empty folder."""
    site = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", f"--target={site}", wheel)
    environment = os.environ | {"PYTHONPATH": str(site)}

    def run(*arguments):
        return subprocess.run(
            [site / "bin" / "chimeramix", *arguments],
            cwd=tmp_path_factory.mktemp("elsewhere"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_the_settings_and_nothing_at_top_level(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        f"{'' if folder == 'chimeramix_jax' else 'chimeramix_jax/'}{path.relative_to(ROOT).as_posix()}"
        for folder in FROM_THE_REPOSITORY
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == wanted
    assert {"chimeramix_jax/py.typed", "chimeramix_jax/configs/digits.py"} <= names


def test_what_the_figures_were_made_with_is_allowed_and_named_for_every_requirement():
    def lines(name):
        texts = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
        return {canonicalize_name(one.name): one.specifier for one in map(Requirement, filter(None, texts))}

    required, constrained = lines("requirements.txt"), lines("constraints.txt")
    for name, allowed in required.items():
        (exactly,) = constrained[name]
        assert exactly.operator == "==" and exactly.version in allowed
    # Where a change that breaks us is announced, or is usual.
    for name, breaking in (("orbax-checkpoint", "1.0.0"), ("jax", "0.13.0"), ("flax", "0.13.0")):
        assert breaking not in required[name]


@pytest.mark.slow
def test_the_installed_command_shows_its_help(chimeramix):
    process = chimeramix("--help")
    assert (process.returncode, process.stderr) == (0, "")
    assert "--stage" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config=digits:chimeramix_grid", "--config.generator.epochs=0"], "generator.epochs: 0 is not allowed"),
        (["--config=cifair10:baselin"], "did you mean 'baseline'?"),
        (["--config=digit"], "--config=digit: no such file (did you mean digits?)"),
    ],
)
def test_the_installed_command_finds_its_own_settings_by_name_and_refuses_wrong_ones(chimeramix, arguments, told):
    process = chimeramix(*arguments)
    assert process.returncode == 2
    assert process.stderr.startswith("chimeramix: ") and process.stderr.count("\n") == 1
    assert told in process.stderr


@pytest.mark.slow
def test_a_config_file_of_ones_own_builds_on_the_installed_ones(chimeramix, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from chimeramix_jax.config import load\n\n\ndef get_config():\n"
        "    config = load('digits')\n    config.max_labels_per_class = 0\n    return config\n"
    )
    process = chimeramix(f"--config={own}")
    assert process.returncode == 2
    assert "max_labels_per_class: 0 is not allowed" in process.stderr
