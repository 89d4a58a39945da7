"""What a finished run is good for: classifying images and generating new ones."""
