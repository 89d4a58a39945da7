"""Compares what the program computes on this device with the published program and with the CPU."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict

from benchmarks import speed_ours
from benchmarks.gpu import machine
from benchmarks.gpu.items import ROOT, Context, within
from benchmarks.presets import PRESETS
from chimeramix_jax import config as shipped
from chimeramix_jax.augment.geometry import resize_align_corners
from chimeramix_jax.interop.pytorch import load_discriminator, load_generator, load_wide_resnet
from chimeramix_jax.mixing.blending import as_many, mixed_images
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training import losses
from chimeramix_jax.training.classification_step import ClassificationStep, sgd
from chimeramix_jax.training.generator import AdversarialStep
from chimeramix_jax.training.networks import build_classifier, build_discriminator, build_generator
from chimeramix_jax.training.schedules import Cosine

FIXTURE = ROOT / "tests" / "fixtures" / "reference_small.npz"

# Tolerances for ||ours - reference|| / ||reference||, by number format. Rounding in bfloat16 gave a fifth of its
# tolerances on CPU. TensorFloat-32 keeps three more bits of a factor, so its tolerances are smaller. Those of float32
# leave room for fast convolution algorithms, which lose a digit or two, but not for TensorFloat-32 in its place.
TOLERANCES: Mapping[str, Mapping[str, float]] = {
    "float32": {"outputs": 5e-5, "gradients": 1e-4, "losses": 1e-6, "updates": 5e-3},
    "tensorfloat32": {"outputs": 1e-2, "gradients": 5e-2, "losses": 1e-4, "updates": 5e-2},
    "bfloat16": {"outputs": 6e-2, "gradients": 3e-1, "losses": 1e-3, "updates": 3e-1},
}


class Reference:
    """The published program's own arrays: images as NHWC, weights under its names, all float32."""

    def __init__(self) -> None:
        """Reads the file."""
        with np.load(FIXTURE) as arrays:
            self.arrays = dict(arrays)

    def images(self, name: str) -> np.ndarray:
        """Returns an array in our layout."""
        return self.arrays[name].transpose(0, 2, 3, 1).astype(np.float32)

    def weights(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the arrays whose names begin with ``prefix``, under their names without it."""
        found = {name: array for name, array in self.arrays.items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): array.astype(np.float32) for name, array in found.items()}

    def generator_weights(self, prefix: str) -> dict[str, np.ndarray]:
        """Also returns the decoder's unused residual blocks, which have no gradient and do not change."""
        return self.weights("generator/") | self.weights(prefix)


def difference(ours: PyTree, reference: PyTree) -> float:
    """Returns the norm of the difference over all leaves, relative to the reference's norm."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True)
    doubles = [(np.asarray(one, np.float64), np.asarray(other, np.float64)) for one, other in pairs]
    apart = sum(np.sum((one - other) ** 2) for one, other in doubles)
    return float(np.sqrt(apart / sum(np.sum(other**2) for _, other in doubles)))


def parity(context: Context) -> dict[str, Any]:
    """Compares our networks in one number format with the published program's outputs, gradients and updates."""
    machine.prepare()
    precision, reference = context.arguments["precision"], Reference()
    with computing(precision):
        found = {
            "outputs": _outputs(precision, reference),
            "gradients": _gradients(precision, reference),
            **_classifier_steps(precision, reference),
        }
    rows = []
    for kind, differences in found.items():
        worst = max(differences, key=lambda name: differences[name])
        what = f"{kind}, worst of {len(differences)} ({worst})" if len(differences) > 1 else worst
        rows.append(within(what, differences[worst], TOLERANCES[precision][kind]))
    return {"rows": rows, "data": found}


def _fixture_config(precision: str, reference: Reference) -> ConfigDict:
    """Returns the settings of the fixture's small networks."""
    config = shipped.load("digits")
    config.precision = precision
    weights = reference.weights("generator/")
    config.generator.channels = weights["encoder.model_downsampling.1.weight"].shape[0]
    config.generator.residual_blocks = len({n.split(".")[2] for n in weights if n.startswith("encoder.model_blocks.")})
    config.generator.decoder_residual_blocks = 0
    config.generator.discriminator_channels = reference.weights("discriminator/")["model.0.weight"].shape[0]
    config.classifier.model = "wrn-10-1"
    config.classifier.dropout_rate = 0.0
    return config


def _loaded(build: Callable[[nnx.Rngs], Any], source: Any) -> Any:
    """Builds a network by our settings, with the parameters and statistics of ``source``."""
    network = build(nnx.Rngs(0))
    nnx.update(network, nnx.state(source, nnx.Param), nnx.state(source, nnx.BatchStat))
    return network


def _networks(precision: str, reference: Reference) -> tuple[Any, Any]:
    config = _fixture_config(precision, reference)
    generator = _loaded(partial(build_generator, config), load_generator(reference.weights("generator/")))
    weights = load_discriminator(reference.weights("discriminator/"))
    return generator, _loaded(partial(build_discriminator, config), weights)


def _classifier(precision: str, reference: Reference) -> Any:
    source = load_wide_resnet(reference.weights("classifier/"))
    classes = len(reference.weights("classifier/")["fc.weight"])
    return _loaded(partial(build_classifier, _fixture_config(precision, reference), classes), source)


@nnx.jit
def _apply(network: Any, *inputs: Any) -> Any:
    return network(*inputs)


def _outputs(precision: str, reference: Reference) -> dict[str, float]:
    generator, discriminator = _networks(precision, reference)
    a, b, mask = (jnp.asarray(reference.images(f"in/{name}")) for name in ("a", "b", "mask"))

    @nnx.jit
    def generated(generator: Any) -> dict[str, Any]:
        return {
            "features_a": generator.encode(a),
            "features_b": generator.encode(b),
            "mixed": mixed_images(generator, a, b, mask),
            "reconstruction_a": mixed_images(generator, a, b, jnp.ones_like(mask)),
            "reconstruction_b": mixed_images(generator, a, b, jnp.zeros_like(mask)),
        }

    found = dict(generated(generator))
    found["discriminator_a"] = _apply(discriminator, a)
    found["discriminator_mixed"] = _apply(discriminator, reference.images("out/mixed"))
    found["resize_up"] = jax.jit(partial(resize_align_corners, side=64))(a)
    found["resize_down"] = jax.jit(partial(resize_align_corners, side=16))(a)
    levels = jax.jit(losses.laplacian_pyramid)(a)
    found |= {f"laplacian_pyramid_{number}": level for number, level in enumerate(levels)}
    differences = {name: difference(value, reference.images(f"out/{name}")) for name, value in found.items()}
    images = reference.images("in/classifier_images")
    logits = _apply(_classifier(precision, reference).train(), images)
    return differences | {"classifier_logits": difference(logits, reference.arrays["out/classifier_logits_train"])}


def _gradients(precision: str, reference: Reference) -> dict[str, float]:
    """Compares the gradients of the generator's loss."""
    generator, discriminator = _networks(precision, reference)
    step = AdversarialStep(nnx.graphdef(generator), nnx.graphdef(discriminator), optax.adam(2e-4, b1=0.5, b2=0.999))
    a, b, mask = (reference.images(f"in/{name}") for name in ("a", "b", "mask"))
    gradients, _ = jax.jit(jax.grad(step.generator_loss, has_aux=True))(
        nnx.state(generator), nnx.state(discriminator), *as_many(a, b, mask), None
    )
    expected = nnx.state(load_generator(reference.generator_weights("grad/generator/")))
    return {"gradient of the generator": difference(gradients, expected)}


def _classifier_steps(precision: str, reference: Reference) -> dict[str, dict[str, float]]:
    classifier = _classifier(precision, reference).train()
    images, labels = reference.images("in/classifier_images"), reference.arrays["in/classifier_labels"]
    step = ClassificationStep(nnx.graphdef(classifier), sgd(Cosine.over(4.6e-3, 10), momentum=0.9, weight_decay=5.3e-3))
    state = step.initial_state(classifier)
    before = jax.tree.map(np.asarray, state["parameters"])
    update, seen = jax.jit(step.update), []
    for _ in range(3):
        state, metrics = update(state, images, labels)
        seen.append(float(metrics["loss"]))
    after = nnx.state(load_wide_resnet(reference.weights("after3/classifier/")), nnx.Param)
    changes = [jax.tree.map(np.subtract, end, before) for end in (jax.device_get(state["parameters"]), after)]
    return {
        "losses": {
            "losses of three classifier steps": difference(np.array(seen), reference.arrays["out/classifier_losses"])
        },
        "updates": {"change of the classifier in three steps": difference(*changes)},
    }


def gradients(context: Context) -> dict[str, Any]:
    """Compares both networks' gradients of the generator's loss at the published width with float32 on this CPU."""
    machine.prepare()
    size = PRESETS["generator", "tiny" if context.tiny else "paper"]
    random, found, rows = np.random.default_rng(0), {}, []
    a, b = (random.uniform(-1, 1, (2, size.generator_side, size.generator_side, 3)).astype(np.float32) for _ in "ab")
    mask = random.integers(0, 2, (2, size.generator_side // 4, size.generator_side // 4, 1)).astype(np.float32)
    with jax.default_device(jax.devices("cpu")[0]):
        expected = _both_gradients(speed_ours.configured(dataclasses.replace(size, precision="float32")), a, b, mask)
    for precision in context.arguments["precisions"]:
        config = speed_ours.configured(dataclasses.replace(size, precision=precision))
        with computing(precision):
            ours = _both_gradients(config, a, b, mask)
        found[precision] = {name: difference(ours[name], expected[name]) for name in expected}
        worst = max(found[precision], key=lambda name: found[precision][name])
        rows.append(within(f"{precision}, {worst}", found[precision][worst], TOLERANCES[precision]["gradients"]))
        context.report({"rows": rows, "data": found})
    return {"rows": rows, "data": found}


def _both_gradients(config: ConfigDict, a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> dict[str, PyTree]:
    """Returns the gradients of the generator's loss for both networks, whose parameters are always the same."""
    with jax.default_device(jax.devices("cpu")[0]):  # other devices draw other numbers
        networks: tuple[Any, Any] = build_generator(config, nnx.Rngs(0)), build_discriminator(config, nnx.Rngs(0))
    states = [jax.tree.map(np.asarray, nnx.state(network)) for network in networks]
    step = AdversarialStep(nnx.graphdef(networks[0]), nnx.graphdef(networks[1]), optax.adam(2e-4))

    @jax.jit
    def both(generator: PyTree, discriminator: PyTree) -> dict[str, PyTree]:
        # Not the discriminator's own loss: in untrained networks its two terms nearly cancel.
        gradient = jax.grad(step.generator_loss, argnums=(0, 1), has_aux=True)
        of_networks, _ = gradient(generator, discriminator, *as_many(a, b, mask), None)
        return dict(zip(("generator's gradient", "discriminator's gradient"), of_networks, strict=True))

    return jax.device_get(both(*states))
