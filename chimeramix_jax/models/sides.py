"""Image sides that follow from how the networks are built; without JAX, so that settings are checked in an instant."""

ENCODER_STRIDE = 4  # the generator's features, and so the masks, have a quarter of the image's side

SMALLEST_GENERATOR_SIDE = 32  # below it the discriminator's last instance norm sees a single pixel and returns zeros
