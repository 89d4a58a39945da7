"""Mixed images by a run's generator, to be trained on elsewhere."""

from chimeramix_jax.use.generation.image_set import FORMATS, generate

__all__ = ["FORMATS", "generate"]
