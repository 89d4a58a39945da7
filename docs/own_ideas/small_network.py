"""A custom network: three convolutions, for images of which there are so few that a residual network is too much.

chimeramix --config=docs/own_ideas/small_network.py
"""

from flax import nnx

from chimeramix_jax import extensions
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.pooled import PooledClassifier

CHANNELS = (16, 32, 64)


@extensions.network("small-network")
class SmallNetwork(PooledClassifier):
    """Convolution, batch norm and ReLU, three times; the second and the third convolution halve the side."""

    def __init__(self, num_classes, *, dropout_rate, dtype, rngs):
        convolutions, norms, inputs = [], [], 3
        for position, outputs in enumerate(CHANNELS):
            strides = (1, 1) if position == 0 else (2, 2)
            convolutions.append(nnx.Conv(inputs, outputs, (3, 3), strides, use_bias=False, dtype=dtype, rngs=rngs))
            norms.append(BatchNorm(outputs))
            inputs = outputs
        self.convolutions, self.norms = nnx.List(convolutions), nnx.List(norms)
        self.dropout = nnx.Dropout(dropout_rate)
        self.head = nnx.Linear(inputs, num_classes, rngs=rngs)

    def feature_maps(self, images, *, example_mask=None, dropout_key=None):
        """Returns the last feature maps, whose means the head turns into logits."""
        features = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = norm(convolution(features), example_mask, relu=True)
        return self.dropout(features, rngs=dropout_key)


extensions.experiment(
    "small-network", {"classifier.model": "small-network", "mixing.mask": "none", "compare_with_baseline": False}
)
