"""Mixing, the idea of the paper: masks, features blended by them, mixed batches, and pictures of what comes out."""
