"""Every setting with its default, once; a data set's own file in ``configs/`` changes what differs."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Returns the settings that all data sets share: the published ones for the CIFAR family."""
    config = ConfigDict()

    config.experiment = "chimeramix_grid"  # name of the experiment, for the records; see experiments.py
    config.seed = 0  # draws the few-shot split and every random number of the run
    config.seeds = ""  # several runs at once instead, such as "0,1,4" or "0:5" (0 to 4), each as if run alone
    config.max_labels_per_class = config_dict.placeholder(int)  # training images per class; None: all there are
    config.compare_with_baseline = False  # also train the classifier without mixing, and print both
    # "float32", "tensorfloat32" (float32 multiplied in fewer bits, on GPUs), "bfloat16" (parameters stay float32), or
    # "auto": bfloat16 except on CPU
    config.precision = "auto"

    config.dataset = ConfigDict()
    config.dataset.name = "cifair10"  # one of chimeramix_jax.config.catalog
    config.dataset.data_dir = ""  # where TFDS keeps prepared data sets; "": TFDS's own default
    config.dataset.evaluate_on = "test"  # or "validation": what the subset leaves of the train split, to choose by
    config.dataset.archive = ""  # cifair10, cifair100, stl10: a local copy of the published archive; "": download
    config.dataset.directory = ""  # image_folder: the folder that holds train/<class>/* (and test/<class>/*)
    config.dataset.image_side = 64  # image_folder: pixels per side that images are stored at, after a centre crop
    config.dataset.skip_unreadable = False  # image_folder: leave out files that cannot be read, and name them
    config.dataset.holdout_fraction = 0.2  # image_folder without test/: share of each class kept for testing
    config.dataset.holdout_seed = 0  # image_folder without test/: which images those are, for each seed others

    # Crop and mirror make both stages' images; all else here makes the classifier's only.
    config.augment = ConfigDict()
    config.augment.crop_padding_fraction = 0.125  # reflect padding before the random crop, as a share of the side
    config.augment.horizontal_flip = True  # mirror with probability 1/2

    config.augment.policy = "none"  # "autoaugment", "trivialaugment" or "none"
    config.augment.autoaugment_policy = "cifar10"  # which of AutoAugment's: "cifar10" or "imagenet"
    config.augment.random_erasing_probability = 0.0  # of filling a rectangle of an image with noise
    config.augment.cutout = False  # blank out a square of every image
    config.augment.cutout_side = 16  # pixels per side of that square, at the classifier's size
    config.augment.mixup = False  # blend every batch that is not mixed with itself, shuffled, and the losses alike

    config.mixing = ConfigDict()
    config.mixing.mask = "grid"  # "grid", "segmentation", or "none": no mixing
    config.mixing.of = "features"  # "features" of the generator, or "pixels" at the generator's size, without one
    config.mixing.probability = 0.5  # of a batch being mixed, as a whole; else it is shown as it is
    config.mixing.images = 2  # of a class, mixed into one; the generator trains on pairs
    config.mixing.mix_size = 4  # cells per side of the grid mask
    config.mixing.segmentation_scale = 60.0  # Felzenszwalb's; the larger, the larger the segments
    config.mixing.segmentation_min_size = 60  # pixels that a segment has at least
    config.mixing.segmentation_sigma = 0.8  # standard deviation of the blur before segmenting, in pixels
    config.mixing.discriminator_candidates = 1  # mixes per image, of which the discriminator's favourite is taken

    config.generator = ConfigDict()
    config.generator.image_side = 64  # pixels per side that the generator works at; a multiple of 4
    config.generator.channels = 64  # ngf: channels after the first convolution
    config.generator.discriminator_channels = 64  # ndf: the same for the discriminator
    config.generator.residual_blocks = 2  # in the encoder
    config.generator.decoder_residual_blocks = 0  # 0: as in the released program; 2: as drawn in the paper
    config.generator.batch_size = 64  # pairs per step
    config.generator.num_dataset_repeats_base = 500  # images per class and epoch
    config.generator.epochs = 200
    config.generator.learning_rate = 2e-4  # Adam, both networks
    config.generator.adam_b1 = 0.5
    config.generator.adam_b2 = 0.999
    config.generator.learning_rate_drops = (0.3, 0.6, 0.8)  # shares of the epochs at which the rate drops
    config.generator.learning_rate_drop_factor = 0.2
    config.generator.reconstruction_weight = 1000.0  # mean squared error of both reconstructions
    config.generator.adversarial_weight = 1.0  # least-squares loss of the mixed image
    config.generator.perceptual_weight = 1.0  # Laplacian pyramid loss of both reconstructions

    config.classifier = ConfigDict()
    config.classifier.model = "wrn-16-8"  # "wrn-<depth>-<width>", depth = 6k + 4, or "resnet-50"
    config.classifier.image_side = 32  # pixels per side that the classifier sees
    config.classifier.dropout_rate = 0.3  # between a wide ResNet block's convolutions
    config.classifier.batch_size = 10
    config.classifier.num_dataset_repeats_base = 500  # images per class and epoch
    config.classifier.epochs = 200
    config.classifier.learning_rate = 4.6e-3  # SGD, cosine schedule to 0
    config.classifier.momentum = 0.9  # Nesterov
    config.classifier.weight_decay = 5.3e-3  # L2 on every parameter, added to the gradient

    config.repeat_unlimited = False  # repeat an epoch's images also where max_labels_per_class is None

    config.evaluation = ConfigDict()
    config.evaluation.every_epochs = 10  # test accuracy on the way; the reported one is always the last epoch's
    config.evaluation.batch_size = 500  # test images per step

    config.checkpoint = ConfigDict()
    config.checkpoint.every_seconds = 30.0  # between checkpoints, also within an epoch; 0: one at every epoch's end
    config.checkpoint.keep = 2  # newest checkpoints kept per stage

    config.logging = ConfigDict()
    config.logging.tensorboard = False  # also write event files for TensorBoard; needs tensorboardX
    config.logging.wandb = "off"  # Weights & Biases: "online", "offline" (sent later by wandb sync) or "off"
    config.logging.wandb_project = "chimeramix"  # where W&B files the run

    config.on_nonfinite = "stop"  # when a loss is NaN or infinite; "rollback": try again from the last checkpoint
    config.deterministic = False  # on a GPU, only operations that give the same bits every time; slower
    config.profile_steps = (
        0  # training steps of each stage to trace, for Perfetto or TensorBoard; see docs/performance.md
    )
    config.steps_per_call = 0  # training steps in one compiled call; 0: as many as take two seconds, on CPU one
    config.seeds_per_call = 0  # seeds that one device trains in one compiled call; 0: all of them, on CPU one
    config.devices = 0  # devices that share the seeds, or the batch of a single one; 0: all there are
    return config
