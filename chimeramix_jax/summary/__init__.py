"""Summaries of many runs: means over seeds, comparisons with the baseline, tables, curves and an HTML page.

Nothing here imports JAX, so that a sweep is summarised in seconds, on any machine.
"""
