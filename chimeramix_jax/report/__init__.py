"""The report of a run: one HTML file that needs no network, made from the files in the run's directory.

The model card beside it says the same in short.
"""

from chimeramix_jax.report.page import write
