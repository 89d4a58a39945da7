"""JAX's settings that decide which numbers are computed."""

import jax
import pytest

import chimeramix_jax
from chimeramix_jax.config import load
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import jax_settings


@pytest.fixture
def settings_as_before():
    before = {name: getattr(jax.config, name) for name in ("jax_enable_x64", "jax_default_prng_impl")}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(("name", "value"), [("jax_enable_x64", True), ("jax_default_prng_impl", "rbg")])
def test_a_setting_that_would_change_a_seeds_results_is_refused_and_the_program_replaces_it(
    name, value, settings_as_before, tmp_path
):
    jax_settings.check()
    jax.config.update(name, value)
    with pytest.raises(InputError, match=f"^{name}: {value!r}, but a seed has its results only with "):
        chimeramix_jax.train_and_evaluate(load("digits"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=f"^{name}: "):
        chimeramix_jax.generate(tmp_path / "run", 3)
    jax_settings.use_own()
    jax_settings.check()
