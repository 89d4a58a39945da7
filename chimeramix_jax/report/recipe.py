"""How a classifier was trained, in words, from the settings of its run."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import parse_growing_sides
from chimeramix_jax.models.names import WideResNetName

_POLICIES = {"autoaugment": "AutoAugment", "randaugment": "RandAugment", "trivialaugment": "TrivialAugment"}


def recipe_in_words(config: ConfigDict) -> list[str]:
    """Returns a few sentences about the network, what it saw and how it was trained."""
    classifier, side = config.classifier, config.classifier.image_side
    otherwise = "not augmented" if config.mixing.mask == "none" else "not augmented in any other way"
    return [
        f"The network is {_network(classifier)} that sees {side}x{side} pixels. It began with random weights: "
        "no pretrained network and no other images were used.",
        *_pretraining(config),
        *_mixing(config),
        f"Its images were {_joined([*_augmentations(config)]) or otherwise}.",
        f"It was trained for {classifier.epochs} epochs in batches of {classifier.batch_size} by SGD with a momentum "
        f"of {classifier.momentum:g}, a learning rate from {classifier.learning_rate:g} to 0 along a cosine, and a "
        f"weight decay of {classifier.weight_decay:g}.",
        *_extras(config),
    ]


def _network(classifier: ConfigDict) -> str:
    model = classifier.model
    if classifier.model_code:
        return f"a custom one ({model!r})"
    wide = WideResNetName.parse(model)
    if wide is None:
        return f"a {model.replace('resnet', 'ResNet')}"
    early = " (with early halving of the side)" if wide.early else ""
    return f"a wide ResNet of depth {wide.depth} and width {wide.width}{early}"


def _pretraining(config: ConfigDict) -> Iterator[str]:
    if config.pretraining.method == "simclr":
        yield (
            f"First, it learned for {config.pretraining.epochs} epochs to recognise views of the same training image, "
            "without labels (SimCLR)."
        )


def _mixing(config: ConfigDict) -> Iterator[str]:
    """Yields what was mixed; without mixing, that nothing was."""
    mixing = config.mixing
    if mixing.mask == "none":
        yield "No images were mixed by masks."
        return
    grid = f"a random grid of {mixing.mix_size}x{mixing.mix_size} cells"
    masks = {"grid": grid, "segmentation": "the segments of one of the images"}
    mask = f"a custom mask ({mixing.mask!r})" if mixing.mask_code else masks[mixing.mask]
    share = "All" if mixing.probability == 1 else f"On average, {mixing.probability:.0%}"
    yield (
        f"{share} of the batches were mixed: {mask} decided which of {mixing.images} images of one class each place "
        "comes from."
    )
    if mixing.of == "pixels":
        yield "The images' pixels were mixed, without a generator."
    else:
        yield (
            "The images' features were mixed, and decoded by a generator that was trained on the same images for "
            f"{config.generator.epochs} epochs."
        )


def _augmentations(config: ConfigDict) -> Iterator[str]:
    augment = config.augment
    if augment.crop_padding_fraction:
        yield f"shifted by up to {100 * augment.crop_padding_fraction:.3g} % of their side"
    if augment.horizontal_flip:
        yield "mirrored left to right at random"
    if augment.policy != "none":
        yield f"changed by {_POLICIES[augment.policy]}"
    if augment.random_erasing_probability:
        yield f"partly filled with noise with a probability of {augment.random_erasing_probability:.0%}"
    if augment.cutout:
        yield f"covered by a square of {augment.cutout_side}x{augment.cutout_side} pixels"
    if augment.own:
        yield f"changed by a custom augmentation ({augment.own!r})"
    if augment.mixup:
        yield "blended with images of any class (mixup)"
    if augment.cutmix_probability:
        share = f"{augment.cutmix_probability:.0%}"
        yield f"partly covered by a rectangle of another image, of any class, in {share} of the batches (CutMix)"


def _extras(config: ConfigDict) -> Iterator[str]:
    """Yields what is beyond the published recipe."""
    classifier = config.classifier
    sides = parse_growing_sides(classifier.growing_sides, classifier.image_side)
    if sides:
        stages = ", ".join(f"{side}x{side} pixels for {share:.0%} of the steps" for side, share in sides)
        yield f"Its images grew during training: {stages}, then the full side."
    if classifier.convolutions == "harmonic":
        yield "Its convolutions are learned combinations of the filters of a discrete cosine transform."
    if classifier.loss == "cosine":
        yield "It minimised the cosine loss instead of the cross entropy."
    if classifier.head == "tvmf":
        yield f"Its logits are t-vMF similarities of features and class weights (kappa {classifier.tvmf_kappa:g})."
    if classifier.loss_code:
        yield f"It was trained to minimise a custom loss ({classifier.loss!r})."
    if classifier.label_smoothing:
        yield f"Labels were smoothed by {classifier.label_smoothing:g}."
    if classifier.averaged_weights:
        yield f"Its weights are a moving average with a decay of {classifier.averaged_weights:g} per step."
    if classifier.averaged_share:
        share = f"{100 * classifier.averaged_share:g} %"
        yield f"Its weights are a moving average that reaches back over about {share} of the training."
    if classifier.batch_statistics == "unmixed":
        yield "Batch norm predicts with statistics of augmented images that were not mixed, computed after training."
    if classifier.class_balance == "sampling":
        yield "Images of small classes were shown more often."
    elif classifier.class_balance == "loss":
        yield "Images of small classes weighed more in the loss."
    if classifier.members > 1:
        yield (
            f"{classifier.members} such networks were trained on the same images with different random numbers; their "
            "probabilities are averaged."
        )
    yield from _views(config)
    if code := settings.codes(config):
        described = ("{} (SHA-256 {})".format(*one.rsplit(" ", 1)) for one in code)
        yield f"Its own code is {_joined([*described])}."


def _views(config: ConfigDict) -> Iterator[str]:
    """Yields the views of an image over which probabilities are averaged, if there are several."""
    if config.evaluation.crops > 1:
        mirrored = ", each also mirrored" if config.evaluation.mirror else ""
        yield f"Probabilities are averaged over {config.evaluation.crops} shifted crops of an image{mirrored}."
    elif config.evaluation.mirror:
        yield "Probabilities are averaged over an image and its mirror image."


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
