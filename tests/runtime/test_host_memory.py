import subprocess
import sys

import pytest

from chimeramix_jax.runtime import host_memory

PAGES_FAULTED = """
import resource, statistics, sys
if "keep" in sys.argv:
    from chimeramix_jax.runtime import cpu_setup
    cpu_setup.prepare()
import jax, jax.numpy as jnp

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

images, kernel = jnp.ones((600, 34, 34, 32)), jnp.ones((3, 3, 32, 32))
convolve = jax.jit(lambda x, w: jax.lax.conv_general_dilated(
    x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")).max())  # 79 MB, beyond other threads' pools

def faults_of_a_call():
    before = faults()
    jax.block_until_ready(convolve(images, kernel))
    return faults() - before

# The median, since the process may still grow once or twice, depending on where its blocks of memory lie.
print(statistics.median(faults_of_a_call() for _ in range(9)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_kept_memory_is_not_requested_from_the_system_again():
    def faults(*arguments):
        command = [sys.executable, "-c", PAGES_FAULTED, *arguments]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    by_default, kept = faults(), faults("keep")
    assert by_default > 7_000, "XLA no longer allocates temporaries anew: host_memory.py is no longer needed"
    assert kept < by_default / 4


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(host_memory.platform, "libc_ver", lambda: ("", ""))
    assert not host_memory.keep_freed_memory()
