"""The checks and measurements to run first on a GPU: see ``docs/gpu.md``."""
