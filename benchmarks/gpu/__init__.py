"""What is run first where there is a GPU: see ``docs/gpu.md``."""
