"""Mixing, the idea of the paper: masks, features blended by masks, mixed batches, and pictures of them."""
