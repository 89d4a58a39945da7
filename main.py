"""The command line of chimeramix_jax in a checkout: ``python main.py --help`` lists its flags and subcommands."""

from chimeramix_jax.__main__ import run

if __name__ == "__main__":
    run()
