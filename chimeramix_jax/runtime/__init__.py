"""The machine: its backend and precision, XLA flags, CPU set-up, compilation cache, signals, the terminal."""
