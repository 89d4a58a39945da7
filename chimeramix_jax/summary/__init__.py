"""Many runs at once: reading them, averaging over seeds, comparing with the baseline, and showing it all.

Nothing here imports JAX: a sweep is summarised in seconds, on any machine.
"""
