import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY

from chimeramix_jax.runtime import compilation_cache


@pytest.mark.slow
def test_a_second_run_compiles_no_program_that_the_first_run_cached_even_if_it_is_longer(tmp_path, data_dir):
    settings = TINY | {"dataset.data_dir": data_dir, "classifier.epochs": 1}
    command = [sys.executable, ROOT / "main.py", f"--config={ROOT}/configs/digits.py:baseline"]
    # Keep all programs, however quickly the machine compiles such small networks.
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | places
    environment.pop("JAX_COMPILATION_CACHE_DIR")

    def programs_after(workdir, **changes):
        overrides = [f"--config.{key}={value}" for key, value in (settings | changes).items()]
        arguments = [*map(str, command), *overrides, f"--workdir={tmp_path / workdir}"]
        subprocess.run(arguments, env=environment, check=True, capture_output=True, timeout=300)
        return {path.name for path in (tmp_path / "cache" / "chimeramix_jax").rglob("*-cache")}

    first = programs_after("first")
    assert first
    assert programs_after("second") == first
    longer = {"classifier.epochs": 2, "classifier.learning_rate": 0.01, "seed": 3}
    assert programs_after("longer", **longer) == first


def test_a_cache_folder_chosen_by_the_user_is_kept(monkeypatch, tmp_path):
    import jax

    before = jax.config.jax_compilation_cache_dir
    compilation_cache.enable()
    assert jax.config.jax_compilation_cache_dir == before is not None


def test_only_programs_that_are_kept_count_as_saved_for_later_runs():
    import jax
    import jax.numpy as jnp

    usual = jax.config.jax_persistent_cache_min_compile_time_secs

    def seconds(least):
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
        before = compilation_cache.seconds_of_kept_programs()
        jax.jit(lambda x: jnp.sin(x) + least).lower(1.0).compile()
        return compilation_cache.seconds_of_kept_programs() - before

    try:
        assert seconds(0.0) > 0
        assert seconds(1000.0) == 0
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", usual)


def test_the_default_folder_depends_on_the_users_cache_and_the_processor(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.directory().parent == tmp_path / "chimeramix_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert compilation_cache.directory().is_relative_to(tmp_path / "home" / ".cache")
    usual = compilation_cache.directory()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags: another")
    assert compilation_cache.directory() != usual


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as Python does where nobody knows the user
    assert compilation_cache.directory() is None


def test_in_a_home_folder_whose_name_is_not_utf_8_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / os.fsdecode(b"caf\xe9")))
    assert compilation_cache.directory() is None


def test_in_a_home_folder_that_cannot_be_written_to_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "closed" / "cache"))
    assert compilation_cache.directory() is not None
    (tmp_path / "closed").mkdir()
    access = os.access  # root may write everywhere, whatever the mode
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "closed" and access(path, mode))
    assert compilation_cache.directory() is None
