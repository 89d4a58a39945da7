"""Generates mixed images with a finished run, to train other programs on."""

from chimeramix_jax.use.generation.image_set import generate
