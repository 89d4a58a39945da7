"""Trains both programs of ``benchmarks.accuracy`` from the same initial weights and on the same draws.

    python -m benchmarks.accuracy_same_draws --images=path/to/images --seeds=0:3 --epochs=5

Initial weights, order, crops, mirroring, partners, masks and coins are PyTorch's on both sides. What is left of a
difference comes from the steps: networks, losses, optimizers, schedules and batch norm. Both classifiers' images are
mixed by the generator of PyTorch's side, and there is no dropout, whose draws cannot be shared. It needs PyTorch:
``pip install torch``.

Rounding errors of classifiers grow by orders of magnitude within a few steps. So a second classifier of PyTorch's side
starts from its weights changed by one part in a million, and shows what such errors come to.

For every seed it prints the mean squared error of the training images and their reconstructions (in [-1, 1]) by both
generators; the accuracies on the held-out images of PyTorch's classifier, of the changed one and of ours; and the
shares of these images that the latter two put into the same class as the first.
"""

import argparse
import copy
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8
from ml_collections import ConfigDict

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError:
    print("accuracy_same_draws: needs PyTorch: pip install torch", file=sys.stderr)
    sys.exit(2)

from benchmarks.accuracy_settings import ARMS, Sizes, config_of, dataset_config
from benchmarks.accuracy_twin import CLASSIFIER, GENERATOR, Batches, adversarial_training, batches_of, masks_of
from benchmarks.pytorch_networks import Generator as TwinGenerator
from benchmarks.pytorch_networks import WideResNet as TwinWideResNet
from benchmarks.pytorch_twin import LEAN, ClassifierTraining
from benchmarks.reconstruction import error
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.config import parse_seeds
from chimeramix_jax.data import FewShotDataset, load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.interop.pytorch import load_discriminator, load_generator, load_wide_resnet
from chimeramix_jax.mixing.blending import as_many, mixed_images
from chimeramix_jax.models.ensemble import Network
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime import cpu_setup
from chimeramix_jax.training.classification_step import ClassificationStep, sgd
from chimeramix_jax.training.generator import AdversarialStep, learning_rate_schedule
from chimeramix_jax.training.schedules import Cosine

ARM = "coin"
CHANGE = 1e-6  # of the weights of PyTorch's second classifier, relative: more than a rounding error in float32
_BATCH = 200  # images per step of the evaluation


@dataclass(frozen=True)
class Outcome:
    """What the trainings end with.

    Attributes:
        errors: mean squared errors of the training images' reconstructions, in [-1, 1]: of PyTorch's generator, ours.
        accuracies: of PyTorch's classifier, the changed one and ours on the held-out images, in [0, 1].
        same_class: share of the held-out images that the changed one, and ours, put into the same class as PyTorch's.
    """

    errors: tuple[float, float]
    accuracies: tuple[float, float, float]
    same_class: tuple[float, float]


def main() -> None:
    """Prints a line for every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seeds", default="0:3", help="such as 0,1,4, or 0:3 for 0 to 2")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each stage")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    lengths = {"generator_epochs": arguments.epochs, "classifier_epochs": arguments.epochs}
    sizes = dataclasses.replace(Sizes(), dropout_rate=0.0, **lengths)
    try:
        if arguments.epochs < 2:  # the drops of the learning rate need an epoch before them
            raise InputError(f"--epochs: {arguments.epochs} is not allowed; it must be at least 2")
        with tempfile.TemporaryDirectory() as folder:
            dataset = dataset_config(arguments.images, folder, sizes)
            print("seed  errors: PyTorch, ours  accuracies: PyTorch, changed, ours  same class: changed, ours")
            for seed in parse_seeds(arguments.seeds):
                outcome = compare(dataset, arguments.images_per_class, seed, sizes)
                errors = ", ".join(f"{value:.5f}" for value in outcome.errors)
                accuracies, same = (
                    ", ".join(f"{share:.2%}" for share in shares) for shares in (outcome.accuracies, outcome.same_class)
                )
                print(f"{seed:4}  {errors:>21}  {accuracies:>34}  {same:>25}", flush=True)
    except InputError as problem:
        print(f"accuracy_same_draws: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)


def compare(dataset: ConfigDict, images_per_class: int, seed: int, sizes: Sizes) -> Outcome:
    """Trains both stages on both sides; ``sizes`` must have no dropout."""
    config = config_of(dataset, images_per_class, seed, ARM, sizes)
    loaded = load_few_shot(config.dataset, images_per_class, seed)
    trainings = _Trainings(config, loaded, sizes)
    twin_generator, generator = trainings.generators()
    classifiers = trainings.classifiers(twin_generator)
    seen, (images, labels) = loaded.train.images, (loaded.held_out.images, loaded.held_out.labels)
    of_twin, of_changed, of_ours = (_predicted(classifier, images) for classifier in classifiers)
    return Outcome(
        errors=(error(load_generator(_weights(twin_generator)), seen), error(generator, seen)),
        accuracies=(_share(of_twin == labels), _share(of_changed == labels), _share(of_ours == labels)),
        same_class=(_share(of_changed == of_twin), _share(of_ours == of_twin)),
    )


class _Trainings:
    """Both sides' trainings of one seed; PyTorch's networks are returned first."""

    def __init__(self, config: ConfigDict, dataset: FewShotDataset, sizes: Sizes):
        self._config, self._dataset, self._sizes = config, dataset, sizes

    def generators(self) -> tuple[TwinGenerator, Generator]:
        """Trains the generators against their discriminators."""
        sizes, settings = self._sizes, self._config.generator
        torch.manual_seed(self._config.seed)
        batches = batches_of(self._dataset, self._config.seed, GENERATOR, sizes.generator_batch_size, sizes)
        training = adversarial_training(sizes, batches.steps_per_epoch)
        networks = load_generator(_weights(training.generator)), load_discriminator(_weights(training.discriminator))
        schedule = learning_rate_schedule(settings, batches.steps_per_epoch)
        step = AdversarialStep(
            nnx.graphdef(networks[0]),
            nnx.graphdef(networks[1]),
            optax.adam(schedule, b1=settings.adam_b1, b2=settings.adam_b2),
            settings.reconstruction_weight,
            settings.adversarial_weight,
            settings.perceptual_weight,
        )
        state, update = step.initial_state(*networks), jax.jit(step.update)
        for a, b, _ in self._draws(batches, sizes.generator_epochs):
            masks = masks_of(len(a), sizes), masks_of(len(a), sizes)
            real = a if torch.rand(()) < 0.5 else b
            training.iteration(a, b, masks, real)
            images, partition = as_many(_nhwc(a), _nhwc(b), _nhwc(masks[0]))
            _, fake_partition = as_many(_nhwc(a), _nhwc(b), _nhwc(masks[1]))
            state, _ = update(state, images, partition, fake_partition, _nhwc(real))
        return training.generator.eval().requires_grad_(False), nnx.merge(step.generator, state["generator"])

    def classifiers(self, twin_generator: TwinGenerator) -> tuple[Network, Network, Network]:
        """Trains PyTorch's classifier, the changed one and ours, returned in this program's form.

        All see mixes of the same generator, each side by its own program.
        """
        sizes, settings = self._sizes, self._config.classifier
        torch.manual_seed(self._config.seed)
        twin = TwinWideResNet(sizes.depth, sizes.width, len(self._dataset.class_names), sizes.dropout_rate)
        network = load_wide_resnet(_weights(twin), dropout_rate=sizes.dropout_rate)
        batches = batches_of(self._dataset, self._config.seed, CLASSIFIER, sizes.classifier_batch_size, sizes)
        steps = sizes.classifier_epochs * batches.steps_per_epoch
        rate = sizes.classifier_learning_rate
        changed = _changed(twin)
        trainings = [
            ClassifierTraining(
                twin_generator, one, LEAN, generator_side=sizes.side, total_steps=steps, learning_rate=rate
            )
            for one in (twin, changed)
        ]
        optimizer = sgd(Cosine.over(rate, steps), settings.momentum, jnp.float32(settings.weight_decay))
        step = ClassificationStep(nnx.graphdef(network), optimizer)
        state, update = step.initial_state(network), jax.jit(step.update)
        generator, mix = load_generator(_weights(twin_generator)), nnx.jit(mixed_images)
        for a, b, labels in self._draws(batches, sizes.classifier_epochs):
            mask = masks_of(len(a), sizes) if float(torch.rand(())) < ARMS[ARM] else None
            for training in trainings:
                training.iteration(a, b, labels, mask)
            images = _nhwc(a) if mask is None else mix(generator, _nhwc(a), _nhwc(b), _nhwc(mask))
            state, _ = update(state, images, labels.numpy().astype(np.int32))
        ours = nnx.merge(step.classifier, state["parameters"], state["batch_statistics"])
        return load_wide_resnet(_weights(twin)).eval(), load_wide_resnet(_weights(changed)).eval(), ours.eval()

    def _draws(self, batches: Batches, epochs: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return map(batches.draw, range(epochs * batches.steps_per_epoch))


@torch.no_grad()
def _changed(network: TwinWideResNet) -> TwinWideResNet:
    """Returns a copy whose weights differ by about ``CHANGE``; leaves PyTorch's random numbers as they are."""
    changed, random = copy.deepcopy(network), torch.Generator().manual_seed(0)
    for weights in changed.parameters():
        weights.mul_(1 + CHANGE * torch.randn(weights.shape, generator=random))
    return changed


def _share(holds: Bool[np.ndarray, "examples"]) -> float:
    return float(np.mean(holds))


def _weights(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def _nhwc(images: Float[Tensor, "batch channels height width"]) -> Float[Array, "batch height width channels"]:
    return jnp.asarray(images.permute(0, 2, 3, 1).numpy())


def _predicted(classifier: Network, images: UInt8[np.ndarray, "examples side side 3"]) -> Int[np.ndarray, "examples"]:
    predict = nnx.jit(lambda classifier, batch: jnp.argmax(classifier(normalize(batch)), axis=-1))
    batches = [images[first : first + _BATCH] for first in range(0, len(images), _BATCH)]
    return np.concatenate([predict(classifier, jnp.asarray(batch)) for batch in batches])


if __name__ == "__main__":
    main()
