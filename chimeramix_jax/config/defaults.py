"""All settings with their defaults; each file in ``configs/`` changes those that differ for its data set."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Returns the default settings, which are the published ones for the CIFAR family."""
    config = ConfigDict()

    config.experiment = "chimeramix_grid"  # name of the experiment, for the records; see experiments.py
    config.seed = 0  # seed of the few-shot subset and of all random numbers of the run
    config.seeds = ""  # train several seeds at once, such as "0,1,4" or "0:5" (0 to 4), with the results of single runs
    config.max_labels_per_class = config_dict.placeholder(int)  # training images per class; None: all
    config.compare_with_baseline = False  # also train the classifier without mixing, and print both accuracies
    # "float32", "tensorfloat32" (float32 multiplied in fewer bits, on GPUs), "bfloat16" (parameters stay float32), or
    # "auto": float32 on CPU, else bfloat16
    config.precision = "auto"

    config.dataset = ConfigDict()
    config.dataset.name = "cifair10"  # see chimeramix_jax.config.catalog
    config.dataset.data_dir = ""  # where TFDS stores prepared data sets; "": TFDS's own default
    config.dataset.evaluate_on = "test"  # or "validation": the unused images of the train split, to choose settings
    config.dataset.archive = ""  # cifair10, cifair100, stl10: a local copy of the published archive; "": download
    config.dataset.directory = ""  # image_folder: the folder that contains train/<class>/* (and test/<class>/*)
    config.dataset.image_side = 64  # image_folder: pixels per side of the stored images, after a centre crop
    config.dataset.skip_unreadable = False  # image_folder: skip files that cannot be read, with a warning
    config.dataset.holdout_fraction = 0.2  # image_folder without test/: share of each class held out for testing
    config.dataset.holdout_seed = 0  # image_folder without test/: together with seed, chooses the held-out images

    # Crop and mirroring apply to both stages, all other augmentations to the classifier only.
    config.augment = ConfigDict()
    config.augment.crop_padding_fraction = 0.125  # reflect padding before the random crop, as a share of the side
    config.augment.horizontal_flip = True  # mirror left to right with probability 1/2

    config.augment.policy = "none"  # "autoaugment", "trivialaugment" or "none"
    config.augment.autoaugment_policy = "cifar10"  # AutoAugment's policy: "cifar10" or "imagenet"
    config.augment.random_erasing_probability = 0.0  # probability of filling a rectangle of an image with noise
    config.augment.cutout = False  # blank out a square of every image
    config.augment.cutout_side = 16  # pixels per side of that square, at the classifier's image side
    config.augment.mixup = False  # mixup (blended images and losses) for every batch that is not mixed by a mask

    config.mixing = ConfigDict()
    config.mixing.mask = "grid"  # "grid", "segmentation", or "none": no mixing
    config.mixing.of = "features"  # "features" of the generator, or "pixels" at generator.image_side, without generator
    config.mixing.probability = 0.5  # probability that a batch is mixed; otherwise its images are shown unmixed
    config.mixing.images = 2  # images of a class in a mix that the classifier sees
    # how a grid's cells or an image's segments are dealt to the images of a mix: "published" (fair coins for cells, see
    # mixing/masks.py for segments), or one by one by shares, "equal" or drawn for each mix: "dirichlet" (any shares are
    # equally likely) or "stick_breaking" (the first image gets half on average, the second a quarter, ...)
    config.mixing.shares = "published"
    config.mixing.mix_size = 4  # cells per side of the grid mask
    config.mixing.segmentation_scale = 60.0  # Felzenszwalb's scale; larger values give larger segments
    config.mixing.segmentation_min_size = 60  # minimum number of pixels of a segment
    config.mixing.segmentation_sigma = 0.8  # standard deviation of the blur before the segmentation, in pixels
    config.mixing.discriminator_candidates = 1  # mixes per image; the one with the highest discriminator score is used

    config.generator = ConfigDict()
    config.generator.image_side = 64  # pixels per side of the generator's images; a multiple of 4
    config.generator.channels = 64  # ngf: output channels of the first convolution
    config.generator.discriminator_channels = 64  # ndf: the same for the discriminator
    config.generator.residual_blocks = 2  # in the encoder
    config.generator.decoder_residual_blocks = 0  # 0: as in the released program; 2: as drawn in the paper
    config.generator.images = 2  # images of a class in a mix that trains the generator
    config.generator.batch_size = 64  # mixes per step
    config.generator.num_dataset_repeats_base = 500  # images per class and epoch
    config.generator.epochs = 200
    config.generator.learning_rate = 2e-4  # Adam, both networks
    config.generator.adam_b1 = 0.5
    config.generator.adam_b2 = 0.999
    config.generator.learning_rate_drops = (0.3, 0.6, 0.8)  # fractions of the epochs after which the rate drops
    config.generator.learning_rate_drop_factor = 0.2
    config.generator.reconstruction_weight = 1000.0  # weight of the mean squared error of both reconstructions
    config.generator.adversarial_weight = 1.0  # weight of the least-squares loss of the mixed image
    config.generator.perceptual_weight = 1.0  # weight of the Laplacian pyramid loss of both reconstructions

    config.classifier = ConfigDict()
    config.classifier.model = "wrn-16-8"  # "wrn-<depth>-<width>", depth = 6k + 4, or "resnet-50"
    config.classifier.image_side = 32  # pixels per side of the classifier's images
    config.classifier.dropout_rate = 0.3  # between a wide ResNet block's convolutions
    config.classifier.batch_size = 10
    config.classifier.num_dataset_repeats_base = 500  # images per class and epoch
    config.classifier.epochs = 200
    config.classifier.learning_rate = 4.6e-3  # SGD, cosine schedule to 0
    config.classifier.momentum = 0.9  # Nesterov
    config.classifier.weight_decay = 5.3e-3  # L2 on every parameter, added to the gradient

    config.repeat_unlimited = False  # repeat images within an epoch even if max_labels_per_class is None

    config.evaluation = ConfigDict()
    config.evaluation.every_epochs = 10  # epochs between evaluations; the reported accuracy is always the last epoch's
    config.evaluation.batch_size = 500  # held-out images per step

    config.checkpoint = ConfigDict()
    config.checkpoint.every_seconds = 30.0  # seconds between checkpoints, even within an epoch; 0: after every epoch
    config.checkpoint.keep = 2  # number of checkpoints to keep per stage

    config.logging = ConfigDict()
    config.logging.tensorboard = False  # also write event files for TensorBoard; needs tensorboardX
    config.logging.wandb = "off"  # Weights & Biases: "online", "offline" (uploaded later by wandb sync) or "off"
    config.logging.wandb_project = "chimeramix"  # W&B project of the run

    config.on_nonfinite = "stop"  # action if a loss is NaN or infinite; "rollback": retry from the last checkpoint
    config.deterministic = False  # on a GPU, use only bit-reproducible operations; slower
    config.profile_steps = 0  # training steps of each stage to trace, for Perfetto or TensorBoard
    config.steps_per_call = 0  # training steps per compiled call; 0: as many as take two seconds, but one on CPU
    config.seeds_per_call = 0  # seeds per device and compiled call; 0: all seeds, but one on CPU
    config.devices = 0  # devices that share the seeds, or the batch of a single seed; 0: all
    return config
