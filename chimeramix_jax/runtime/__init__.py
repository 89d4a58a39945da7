"""The machine: backend, precision, XLA flags, CPU setup, compilation cache, determinism, signals, the terminal."""
