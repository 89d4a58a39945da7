"""Uses finished runs: classifies images, generates new ones, and exports classifiers."""
