"""Carries out whole runs, from settings to report, for one seed or several."""
