"""Image sides that follow from the networks' architecture. Does not import JAX, so checking settings is quick."""

ENCODER_STRIDE = 4  # features and masks have a quarter of the image's side

SMALLEST_GENERATOR_SIDE = 32  # below it the discriminator's last instance norm sees a single pixel and returns zeros

GENERATOR_SIDE_MULTIPLE = 8  # the Laplacian pyramid of its loss halves an image three times
