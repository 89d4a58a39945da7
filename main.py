"""The command line of chimeramix_jax in a checkout; ``python main.py --help`` lists what it takes."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run()
