"""The networks, as Flax NNX modules with images as NHWC."""
