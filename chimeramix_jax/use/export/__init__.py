"""Exports the classifier of a finished run as a single file, for programs without this package or for keeping."""

from chimeramix_jax.use.export.exporting import Exported, export
