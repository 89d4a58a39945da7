"""A whole run from settings to report, for one seed or for several."""
