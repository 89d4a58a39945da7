"""Many runs by one command: planned, and started as processes on this machine or as jobs of Slurm.

Nothing here imports JAX: every run is a process of its own.
"""
