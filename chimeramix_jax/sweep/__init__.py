"""Sweeps: many runs started by one command, as processes on this machine or as Slurm jobs.

Nothing here imports JAX, as every run is a separate process.
"""
