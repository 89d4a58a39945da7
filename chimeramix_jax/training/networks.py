"""The networks of a run, built from its settings, and the two kinds of their variables."""

from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict

from chimeramix_jax.models import classifier as models
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.ensemble import Ensemble, Network
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.models.heads import HeadKind
from chimeramix_jax.runtime.precision import computation_dtype
from chimeramix_jax.training.calls import State


def build_generator(config: ConfigDict, rngs: nnx.Rngs) -> Generator:
    """Builds the generator described by the settings."""
    settings = config.generator
    return Generator(
        settings.channels,
        settings.residual_blocks,
        settings.decoder_residual_blocks,
        settings.architecture,
        dtype=computation_dtype(config.precision),
        rngs=rngs,
    )


def build_discriminator(config: ConfigDict, rngs: nnx.Rngs) -> Discriminator:
    """Builds the discriminator described by the settings."""
    return Discriminator(config.generator.discriminator_channels, dtype=computation_dtype(config.precision), rngs=rngs)


def build_classifier(config: ConfigDict, num_classes: int, rngs: nnx.Rngs) -> Network:
    """Builds the classifier's network described by the settings, in training mode; an ensemble has several of it."""
    settings = config.classifier
    dtype = computation_dtype(config.precision)
    return models.build(
        settings.model,
        num_classes,
        dropout_rate=settings.dropout_rate,
        harmonic=settings.convolutions == "harmonic",
        head=head_kind(settings),
        dtype=dtype,
        rngs=rngs,
        code=settings.model_code,
    )


def head_kind(settings: ConfigDict) -> HeadKind:
    """Returns the head that the settings of the group ``classifier`` ask for; the cosine loss has one of its own."""
    return HeadKind("cosine" if settings.loss == "cosine" else settings.head, settings.tvmf_kappa)


def abstract_classifier(config: ConfigDict, num_classes: int) -> Classifier:
    """Returns the classifier of a finished run with these settings, in evaluation mode and with shapes as values."""

    def build() -> Classifier:
        members = [build_classifier(config, num_classes, nnx.Rngs(0)) for _ in range(config.classifier.members)]
        return Ensemble(members) if len(members) > 1 else members[0]

    return nnx.eval_shape(build).eval()


def update_all_but_head(classifier: Network, pretrained: State) -> None:
    """Gives a classifier, in place, the network of a state of pretraining; only its head stays as it is."""
    parameters = {name: value for name, value in pretrained["parameters"].items() if name != "head"}
    nnx.update(classifier, nnx.State(parameters), pretrained["batch_statistics"])


def parameters_and_statistics(classifier: Classifier) -> tuple[PyTree, PyTree]:
    """Returns the parameters and the batch statistics of a classifier, which are all of its variables."""
    parameters, statistics = nnx.state(classifier, nnx.Param, nnx.BatchStat)
    return parameters, statistics
