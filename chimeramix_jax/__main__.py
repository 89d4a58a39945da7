"""``python -m chimeramix_jax`` is the command ``chimeramix``."""

from chimeramix_jax.command_line import run

if __name__ == "__main__":
    run()
