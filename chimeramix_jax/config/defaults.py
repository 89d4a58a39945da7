"""All settings: the default, the allowed values and the meaning of each. The files in ``configs/`` change defaults."""

from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from chimeramix_jax.config import rules

_DEFAULTS_AND_RULES: Mapping[str, tuple[Any, rules.Rule]] = {
    "experiment": ("chimeramix_grid", rules.NAME),  # name of the experiment, for the records; see experiments.py
    "seed": (0, rules.SEED),  # seed of the few-shot subset and of all random numbers of the run
    "seeds": ("", rules.TEXT),  # train several seeds at once, as if alone: "0,1,4", or "0:5" for 0 to 4
    "max_labels_per_class": (None, rules.COUNT_OR_ALL),  # training images per class; None: all
    # Divide the training images into this many folds, train a model without each of them and measure it on the fold,
    # then train the final model on all; 0: no folds. A folder without test/ then holds out nothing else
    "folds": (0, rules.FOLDS),
    "fold_repeats": (1, rules.integer(1, 1000)),  # how often to divide them, each time differently
    # Train only the model without this fold, counted from 1 and on through the repeats; 0: all. Set by the program
    "fold": (0, rules.COUNT_OR_0),
    # Minutes that experiment "auto", or any other with --minutes, may take: to choose among its recipes and to train
    "minutes": (30.0, rules.POSITIVE),
    # The experiments that "auto" compares, separated by commas; "": the menu in chimeramix_jax/auto/menu.py. A single
    # one is only trained, for as long as the time allows
    "recipes": ("", rules.TEXT),
    # image_folder with a limit on the time: sides that the final model's images may have instead of dataset.image_side,
    # in pixels, if the time and the photos are large enough and no generator is trained: "48,64". See auto/sides.py
    "larger_sides": ("", rules.TEXT),
    # Also train the classifier without mixing, and print both accuracies
    "compare_with_baseline": (False, rules.YES_OR_NO),
    # "float32", "tensorfloat32" (float32 multiplied in fewer bits, on GPUs), "bfloat16" (parameters stay float32), or
    # "auto": float32 on CPU, else bfloat16
    "precision": ("auto", rules.choice("auto", "float32", "tensorfloat32", "bfloat16")),
    "dataset.name": ("cifair10", rules.TEXT),  # see chimeramix_jax.config.catalog and docs/datasets.md
    "dataset.code": ("", rules.TEXT),  # the code of a custom data set; set by the program, see config/own_code.py
    "dataset.data_dir": ("", rules.TEXT),  # where TFDS stores prepared data sets; "": TFDS's own default
    # "test", or "validation", to choose settings: the user's own validation images (val/) if there are any, otherwise
    # the unused images of the train split; in a fold's run, the fold that was left out
    "dataset.evaluate_on": ("test", rules.choice("test", "validation")),
    # -1: draw the training images by seed. 0: the first max_labels_per_class images of each class in published order,
    # 1: the next that many, and so on, whatever the seed, as the GEM benchmark divides ciFAIR-10. cub, isic2018,
    # eurosat, clamm: the number of GEM's lists, as in trainval0.txt, whose images are then drawn by seed
    "dataset.division": (-1, rules.integer(-1, 1_000_000)),
    # A local copy of the published archive, for data sets that have one (see the catalog); "": download
    "dataset.archive": ("", rules.TEXT),
    # image_folder: the folder that contains <class>/* or train/<class>/* (and test/<class>/*, val/<class>/*), a .csv
    # file of paths and labels, an .npz file of arrays, or trainval.txt of a benchmark (docs/photos.md). cub, isic2018,
    # eurosat, clamm: the folder with GEM's lists
    "dataset.directory": ("", rules.TEXT),
    # image_folder: the folder that the paths in a .csv or .txt file are relative to; "": that of the file. cub,
    # isic2018, eurosat, clamm: the same, for GEM's lists; "": where GEM's scripts put the images, beside the lists
    "dataset.image_directory": ("", rules.TEXT),
    # image_folder, tfds:NAME, cub, isic2018, eurosat, clamm: pixels per side of the stored squares, at least
    # classifier.image_side
    "dataset.image_side": (64, rules.integer(8, 1024)),
    # image_folder, tfds:NAME: how photos that are not square become squares. "crop": only the largest central square is
    # seen; "pad": the whole photo, on grey; "stretch": the whole photo, its sides resized independently. See
    # data/fitting.py
    "dataset.fit": ("crop", rules.choice(*rules.FITS)),
    # tfds:NAME: the splits to use, if they are not called train, validation and test; "": these, as far as there are
    # any. Parts such as "train[:80%]" are allowed; test_split "none": hold out a share of the training images
    "dataset.train_split": ("", rules.TEXT),
    "dataset.validation_split": ("", rules.TEXT),
    "dataset.test_split": ("", rules.TEXT),
    # tfds:NAME: the features that are the image and its class; "": the only ones of their types
    "dataset.image_feature": ("", rules.TEXT),
    "dataset.label_feature": ("", rules.TEXT),
    # Data sets that are read from image files: skip those that cannot be read, with a warning
    "dataset.skip_unreadable": (False, rules.YES_OR_NO),
    # image_folder: "refuse" the same pixels among both training and held-out images, or only "report" them
    "dataset.duplicates": ("refuse", rules.choice("refuse", "report")),
    # What is not separated when images are held out or divided into folds: "copies" are the same pixels, and
    # "near_duplicates" also images that look the same. See data/kept_together.py
    "dataset.keep_together": ("copies", rules.choice(*rules.KEPT_TOGETHER)),
    # image_folder without test/, tfds:NAME without a test split: share of each class held out for testing
    "dataset.holdout_fraction": (0.2, rules.BETWEEN_0_AND_1),
    # the same: together with seed, chooses the held-out images
    "dataset.holdout_seed": (0, rules.SEED),
    # Crop and mirroring apply to both stages, all other augmentations to the classifier only.
    # Reflect padding before the random crop, as a share of the side: no crop needs more than half of it.
    "augment.crop_padding_fraction": (0.125, rules.UP_TO_HALF),
    "augment.horizontal_flip": (True, rules.YES_OR_NO),  # mirror left to right with probability 1/2
    # "autoaugment", "randaugment", "trivialaugment" or "none"
    "augment.policy": ("none", rules.choice(*rules.POLICIES)),
    # AutoAugment's policy: "cifar10" or "imagenet"
    "augment.autoaugment_policy": ("cifar10", rules.choice(*rules.AUTOAUGMENT_POLICIES)),
    "augment.randaugment_operations": (2, rules.integer(1, 14)),  # RandAugment's operations for each image
    "augment.randaugment_magnitude": (9, rules.integer(0, 30)),  # their strength, 30 is the strongest
    # Probability of filling a rectangle of an image with noise
    "augment.random_erasing_probability": (0.0, rules.PROBABILITY),
    "augment.cutout": (False, rules.YES_OR_NO),  # blank out a square of every image
    # Pixels per side of that square, at the classifier's image side
    "augment.cutout_side": (16, rules.integer(2, 1024)),
    "augment.mixup": (False, rules.YES_OR_NO),  # mixup: blend images of any classes, and their losses
    # Probability that a rectangle of every image of a batch is another image's, and that share of its loss (CutMix)
    "augment.cutmix_probability": (0.0, rules.PROBABILITY),
    # A custom augmentation, which is the last one that images get; "": none. See docs/own_ideas.md
    "augment.own": ("", rules.choice_or_own("")),
    "augment.own_code": ("", rules.TEXT),  # its code; set by the program
    # Which batches mixup or CutMix blends, if masks mix some: "unmixed" (the others) or "all" (also the mixed ones)
    "augment.mixup_of": ("unmixed", rules.choice("unmixed", "all")),
    # "grid", "segmentation", "none": no mixing, or a custom mask's name
    "mixing.mask": ("grid", rules.choice_or_own(*rules.MASKS)),
    "mixing.mask_code": ("", rules.TEXT),  # the code of a custom mask; set by the program
    # "features" of the generator, or "pixels" at generator.image_side, without generator
    "mixing.of": ("features", rules.choice("features", "pixels")),
    # Probability that a batch is mixed; otherwise its images are shown unmixed
    "mixing.probability": (0.5, rules.ABOVE_0_UP_TO_1),
    "mixing.images": (2, rules.integer(2, 64)),  # images of a class in a mix that the classifier sees
    # How a grid's cells or an image's segments are dealt to the images of a mix: "published" (fair coins for cells; for
    # segments see mixing/masks.py), or one by one by shares, "equal" or drawn for each mix: "dirichlet" (any shares are
    # equally likely) or "stick_breaking" (the first image gets half on average, the second a quarter, ...)
    "mixing.shares": (rules.PUBLISHED, rules.choice(*rules.SHARES)),
    "mixing.mix_size": (4, rules.integer(2, 1024)),  # cells per side of the grid mask
    "mixing.segmentation_scale": (60.0, rules.POSITIVE),  # Felzenszwalb's scale; larger values give larger segments
    "mixing.segmentation_min_size": (60, rules.COUNT_OR_0),  # minimum number of pixels of a segment
    # Standard deviation of the blur before the segmentation, in pixels
    "mixing.segmentation_sigma": (0.8, rules.UP_TO_100),
    "mixing.discriminator_candidates": (1, rules.FEW),  # mixes per image; the discriminator's favourite is used
    "generator.image_side": (64, rules.SIDE),  # pixels per side of the generator's images; a multiple of 8
    # "cyclegan", as published, or "patches": faster (models/patches.py)
    "generator.architecture": ("cyclegan", rules.choice("cyclegan", "patches")),
    # ngf: a quarter of the features' channels; in "cyclegan", output channels of the first convolution
    "generator.channels": (64, rules.CHANNELS),
    "generator.discriminator_channels": (64, rules.CHANNELS),  # ndf: the same for the discriminator
    "generator.residual_blocks": (2, rules.FEW_OR_NONE),  # in the encoder
    # In the decoder; 0: as in the released program; 2: as drawn in the paper
    "generator.decoder_residual_blocks": (0, rules.FEW_OR_NONE),
    "generator.images": (2, rules.integer(2, 64)),  # images of a class in a mix that trains the generator
    "generator.batch_size": (64, rules.BATCH_SIZE),  # mixes per step
    "generator.num_dataset_repeats_base": (500, rules.COUNT),  # images per class and epoch
    "generator.epochs": (200, rules.COUNT),
    "generator.learning_rate": (2e-4, rules.POSITIVE),  # Adam, both networks
    "generator.adam_b1": (0.5, rules.BELOW_ONE),
    "generator.adam_b2": (0.999, rules.BELOW_ONE),
    # "drops", or "cosine": a short warm-up, then along a cosine to 0
    "generator.learning_rate_schedule": ("drops", rules.choice("drops", "cosine")),
    # Fractions of the epochs after which the rate drops
    "generator.learning_rate_drops": ((0.3, 0.6, 0.8), rules.INCREASING_SHARES),
    "generator.learning_rate_drop_factor": (0.2, rules.ABOVE_0_UP_TO_1),
    # Weight of both reconstructions' mean squared error
    "generator.reconstruction_weight": (1000.0, rules.NOT_NEGATIVE),
    "generator.adversarial_weight": (1.0, rules.NOT_NEGATIVE),  # weight of the least-squares loss of the mixed image
    # Weight of the Laplacian pyramid loss of both reconstructions
    "generator.perceptual_weight": (1.0, rules.NOT_NEGATIVE),
    # "none", or "simclr": before the classifier, train its network to recognise views of the same training image,
    # without labels. If the run also trains a baseline, it starts from the same network
    "pretraining.method": ("none", rules.choice("none", "simclr")),
    "pretraining.batch_size": (256, rules.BATCH_SIZE),  # images per step, each seen in two views
    "pretraining.num_dataset_repeats_base": (500, rules.COUNT),  # images per class and epoch
    "pretraining.epochs": (200, rules.COUNT),
    "pretraining.learning_rate": (1e-3, rules.POSITIVE),  # Adam; a short warm-up, then along a cosine to 0
    "pretraining.temperature": (0.5, rules.POSITIVE),  # divides the cosines of the loss
    "pretraining.projection_size": (128, rules.CHANNELS),  # outputs of the projection that the loss compares
    # "wrn-<depth>-<width>", depth = 6k + 4; "wrn-<depth>-<width>-early", whose first group halves the side, too;
    # or "resnet-50", or a custom network's name
    "classifier.model": ("wrn-16-8", rules.TEXT),
    "classifier.model_code": ("", rules.TEXT),  # the code of a custom network; set by the program
    # "standard", or "harmonic": kernels larger than 1x1 are learned combinations of the filters of a cosine transform
    "classifier.convolutions": ("standard", rules.choice(*rules.CONVOLUTIONS)),
    "classifier.image_side": (32, rules.SIDE),  # pixels per side of the classifier's images
    # Smaller sides to begin with, and their shares of the steps: "16:0.4,24:0.3" trains at 16x16 for 40 % of the steps,
    # at 24x24 for the next 30 %, and then at image_side, at which it is always evaluated. "1/2:0.4,3/4:0.3" is the same
    # for an image_side of 32. "": at image_side throughout
    "classifier.growing_sides": ("", rules.TEXT),
    "classifier.dropout_rate": (0.3, rules.BELOW_ONE),  # between a wide ResNet block's convolutions
    "classifier.batch_size": (10, rules.BATCH_SIZE),
    "classifier.num_dataset_repeats_base": (500, rules.COUNT),  # images per class and epoch
    "classifier.epochs": (200, rules.COUNT),
    "classifier.learning_rate": (4.6e-3, rules.POSITIVE),  # SGD, cosine schedule to 0
    "classifier.momentum": (0.9, rules.BELOW_ONE),  # Nesterov
    "classifier.weight_decay": (5.3e-3, rules.NOT_NEGATIVE),  # L2 on every parameter, added to the gradient
    # "cross_entropy", "cosine" (1 minus the cosine of the angle between outputs and one-hot label, without scale), or
    # a custom loss's name
    "classifier.loss": ("cross_entropy", rules.choice_or_own(*rules.LOSSES)),
    "classifier.loss_code": ("", rules.TEXT),  # the code of a custom loss; set by the program
    # "linear", or "tvmf": a similarity of the angles between features and class weights, times a learned scale
    "classifier.head": ("linear", rules.choice(*rules.HEADS)),
    # How fast the t-vMF similarity falls beside a class's direction; 0: it is the cosine
    "classifier.tvmf_kappa": (16.0, rules.NOT_NEGATIVE),
    # Share of every label that is spread evenly over all classes; 0: labels are not smoothed
    "classifier.label_smoothing": (0.0, rules.BELOW_ONE),
    # Decay per step of the moving average of the parameters that is evaluated and predicts; 0: no average
    "classifier.averaged_weights": (0.0, rules.BELOW_ONE),
    # The same, as the share of the training that the average reaches back over, whatever its length; 0: no average
    "classifier.averaged_share": (0.0, rules.BELOW_ONE),
    # What batch norm predicts with: "running" averages over all batches of training, as published; "unmixed": computed
    # anew after training, from augmented images that no mask, mixup or CutMix has mixed
    "classifier.batch_statistics": ("running", rules.choice(*rules.BATCH_STATISTICS)),
    # If classes differ in size: "none", "sampling" (every image of a batch is drawn from a class drawn evenly), or
    # "loss" (an image's loss is weighted by the mean size of the classes over that of its own)
    "classifier.class_balance": ("none", rules.choice("none", "sampling", "loss")),
    # Networks that are trained on the same images with different random numbers, one after the other, and whose
    # probabilities are averaged (an ensemble)
    "classifier.members": (1, rules.FEW),
    "repeat_unlimited": (False, rules.YES_OR_NO),  # repeat images within an epoch even if max_labels_per_class is None
    # Epochs between evaluations; the reported accuracy is always the last epoch's
    "evaluation.every_epochs": (10, rules.COUNT),
    "evaluation.batch_size": (500, rules.BATCH_SIZE),  # held-out images per step
    # Average the probabilities of every image and its mirror image, in evaluation and prediction
    "evaluation.mirror": (False, rules.YES_OR_NO),
    # The same for the image and, if 5, four more crops, shifted diagonally by half of training's largest shift
    "evaluation.crops": (1, rules.ONE_OR_FIVE),
    # Seconds between checkpoints, even within an epoch; 0: after every epoch
    "checkpoint.every_seconds": (30.0, rules.NOT_NEGATIVE),
    "checkpoint.keep": (2, rules.COUNT),  # number of checkpoints to keep per stage
    "logging.tensorboard": (False, rules.YES_OR_NO),  # also write event files for TensorBoard; needs tensorboardX
    # Weights & Biases: "online", "offline" (uploaded later by wandb sync) or "off"
    "logging.wandb": ("off", rules.choice("off", "offline", "online")),
    "logging.wandb_project": ("chimeramix", rules.NAME),  # W&B project of the run
    # Action if a loss is NaN or infinite; "rollback": retry from the last checkpoint
    "on_nonfinite": ("stop", rules.choice("stop", "rollback")),
    "deterministic": (False, rules.YES_OR_NO),  # on a GPU, use only bit-reproducible operations; slower
    "profile_steps": (0, rules.COUNT_OR_0),  # training steps of each stage to trace, for Perfetto or TensorBoard
    # Training steps per compiled call; 0: as many as take two seconds, but one on CPU
    "steps_per_call": (0, rules.COUNT_OR_0),
    "seeds_per_call": (0, rules.integer(0, 10_000)),  # seeds per device and compiled call; 0: all seeds, but one on CPU
    "devices": (0, rules.integer(0, 10_000)),  # devices that share the seeds, or the batch of a single seed; 0: all
}

SETTINGS: Mapping[str, rules.Rule] = {key: rule for key, (_, rule) in _DEFAULTS_AND_RULES.items()}


def get_config() -> ConfigDict:
    """Returns the default settings, which are the published ones for the CIFAR family."""
    return unflattened((key, default) for key, (default, _) in _DEFAULTS_AND_RULES.items())


def unflattened(settings: Iterable[tuple[str, Any]]) -> ConfigDict:
    """Returns settings with dotted keys as groups. A setting of None can be set to a whole number."""
    config = ConfigDict()
    for key, value in settings:
        *groups, name = key.split(".")
        place = config
        for group in groups:
            if group not in place:
                place[group] = ConfigDict()
            place = place[group]
        place[name] = config_dict.placeholder(int) if value is None else value
    return config
