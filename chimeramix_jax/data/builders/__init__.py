"""TFDS builders of the data sets that TFDS has not, or has only with TensorFlow."""
