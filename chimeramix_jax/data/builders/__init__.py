"""TFDS builders for data sets that TFDS lacks, or can prepare only with TensorFlow."""
