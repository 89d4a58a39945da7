"""One training run and its directory: preparing it, training and measuring, restoring what it has trained."""
