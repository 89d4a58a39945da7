"""``python -m chimeramix_jax.tune`` is the command ``chimeramix tune``."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run("tune")
