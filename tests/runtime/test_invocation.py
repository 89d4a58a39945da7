import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT

from chimeramix_jax.runtime import invocation


@pytest.fixture
def not_installed(monkeypatch, tmp_path):
    """As in a checkout whose environment does not contain the command, and whose Python the shell does not find."""
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_words_start_the_program_from_any_folder(tmp_path):
    process = subprocess.run([*invocation.from_anywhere(), "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_a_checkout_is_started_by_its_own_file_and_named_shortly_from_inside(not_installed, monkeypatch):
    assert invocation.from_anywhere() == [sys.executable, str(ROOT / "main.py")]
    monkeypatch.chdir(ROOT)
    assert invocation.from_here()[-1] == "main.py"
    monkeypatch.chdir(ROOT.parent)
    assert invocation.from_here()[-1] == str(Path(ROOT.name, "main.py"))


def test_an_installed_command_is_named_as_the_shell_finds_it(not_installed, monkeypatch, tmp_path):
    command = tmp_path / "scripts" / "chimeramix"
    command.parent.mkdir()
    command.touch(mode=0o755)
    assert invocation.from_anywhere() == [str(command)]
    monkeypatch.setenv("PATH", str(command.parent))
    assert invocation.from_anywhere() == ["chimeramix"]


def test_packages_are_installed_into_the_environment_of_this_python(not_installed, monkeypatch, tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert invocation.installing("jax[cuda13]", "a") == f"{python} -m pip install 'jax[cuda13]' a"
    monkeypatch.chdir(tmp_path)
    assert invocation.installing("a") == "environment/bin/python -m pip install a"
    monkeypatch.setenv("PATH", str(python.parent))  # as in an active environment
    assert invocation.installing("a") == "python -m pip install a"


def test_a_current_folder_that_was_deleted_leaves_words_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert invocation.from_here() == invocation.from_anywhere()
