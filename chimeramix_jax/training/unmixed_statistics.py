"""Batch norm statistics for prediction from augmented images that nothing has mixed.

Batch norm predicts with running averages over the batches of training. Batches that are mixed, by masks, mixup or
CutMix, have other means and variances than the images that are predicted later, so the averages suit neither. Computing
the statistics of the trained parameters anew, from many batches, is "precise batch norm" (Wu and Johnson, *Rethinking
"batch" in batch norm*, 2021, arXiv 2105.07576, section 3); that separate statistics for images of another distribution
help is known from Xie et al., *Adversarial examples improve image recognition*, CVPR 2020, arXiv 1911.09665.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.data.sampling import ResidentData
from chimeramix_jax.models.ensemble import Network
from chimeramix_jax.runtime import stopping

VIEWS = 1600  # augmented images in all; half of them count
FEWEST_BATCHES = 100  # after half of them, 0.5 % of a running average with momentum 0.1 is older


class UnmixedStatistics:
    """Computes the statistics of trained parameters from the training images, augmented but not mixed."""

    def __init__(self, network: Network, augmentation: Augmentation, batch_size: int, *, balanced: bool):
        """Prepares the computation.

        Args:
            network: the classifier's network, with or without values.
            augmentation: that of the classifier's training images.
            batch_size: images per batch.
            balanced: whether all classes are drawn equally often, whatever their numbers of images.
        """
        trained = nnx.merge(*nnx.split(network))  # a copy, which may be switched
        trained.train()
        trained.set_attributes(nnx.Dropout, deterministic=True, raise_if_not_found=False)  # as in prediction
        self._network: nnx.GraphDef[Network] = nnx.graphdef(trained)
        self._augmentation, self._batch_size, self._balanced = augmentation, batch_size, balanced
        self._batch = jax.jit(self._updated)

    def __call__(self, parameters: PyTree, statistics: PyTree, data: ResidentData, key: PRNGKeyArray) -> PyTree:
        """Returns new statistics in place of ``statistics``: the mean of the running averages over many batches.

        The network updates its own running averages batch by batch. Their mean over the second half of the batches
        weights those batches about equally, whatever the network's momentum is.

        Raises:
            Stopped: the run was asked to stop.
        """
        if not jax.tree.leaves(statistics):
            return statistics  # a network without batch norm
        batches = max(FEWEST_BATCHES, -(-VIEWS // self._batch_size))
        total = jax.tree.map(jnp.zeros_like, statistics)
        for number in range(batches):
            statistics = self._batch(parameters, statistics, data, jax.random.fold_in(key, number))
            if number >= batches // 2:
                total = jax.tree.map(jnp.add, total, statistics)
            stopping.raise_if_asked()
        return jax.tree.map(lambda values: values / (batches - batches // 2), total)

    def _updated(self, parameters: PyTree, statistics: PyTree, data: ResidentData, key: PRNGKeyArray) -> PyTree:
        """Returns the statistics after one more batch."""
        index_key, view_key, dropout_key = jax.random.split(key, 3)
        network = nnx.merge(self._network, parameters, statistics, copy=True)
        network(self._augmentation(view_key, data, self._drawn(index_key, data)).images, dropout_key=dropout_key)
        return nnx.state(network, nnx.BatchStat)

    def _drawn(self, key: PRNGKeyArray, data: ResidentData) -> Int[Array, "batch"]:
        """Draws the positions of a batch's images."""
        if self._balanced:
            return sampling.balanced_draws(key, data, self._batch_size)
        return jax.random.randint(key, (self._batch_size,), 0, len(data.labels))
