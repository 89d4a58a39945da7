"""What importing a part of the package does not import: packages that take seconds, or that need not be installed."""

import subprocess
import sys
import textwrap

from conftest import ROOT

# One process, as starting one takes longer than importing most of these. What is imported stays imported.
IN_ORDER = textwrap.dedent("""
    import sys

    def assert_none_of(*packages):
        found = sorted({*packages} & set(sys.modules))
        assert not found, found

    import chimeramix_jax.config.rules  # which know the policies' names
    assert_none_of("jax")

    import chimeramix_jax.data, chimeramix_jax.config.catalog
    assert_none_of("jax", "tensorflow_datasets", "tensorflow", "sklearn", "PIL")

    from chimeramix_jax import config
    config.check(config.load("digits"))
    assert_none_of("jax", "tensorflow_datasets")

    assert set(chimeramix_jax.__all__) <= set(dir(chimeramix_jax)), dir(chimeramix_jax)
    assert_none_of("jax")

    import chimeramix_jax.command_line.sweep, chimeramix_jax.command_line.tune
    assert_none_of("ray")
""")


def test_importing_a_part_and_listing_the_public_names_imports_no_heavy_package():
    command = [sys.executable, "-c", IN_ORDER]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
