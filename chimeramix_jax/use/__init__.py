"""Uses finished runs: classifies images and generates new ones."""
