"""The page that shows a run: one file that needs no network, drawn from what the run's directory holds."""

from chimeramix_jax.report.page import write

__all__ = ["write"]
