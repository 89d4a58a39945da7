"""``python -m chimeramix_jax.serve`` is the command ``chimeramix serve``."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run("serve")
