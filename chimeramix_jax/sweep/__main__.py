"""``python -m chimeramix_jax.sweep`` is the command ``chimeramix sweep``."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run("sweep")
