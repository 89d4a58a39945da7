"""``python -m chimeramix_jax.summarize`` is the command ``chimeramix summarize``."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run("summarize")
