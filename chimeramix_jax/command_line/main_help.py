"""The flags of ``chimeramix`` itself, and its help text."""

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import stages
from chimeramix_jax.command_line.flags import Flag
from chimeramix_jax.command_line.help_text import Entry, Help
from chimeramix_jax.command_line.subcommands import SUBCOMMANDS, usage

DEFAULT_CONFIG = "digits"

HELP = Help(
    usage=(
        "[FLAGS]",
        *map(usage, SUBCOMMANDS),
    ),
    summary="Trains an image classifier on very few labelled images with ChimeraMix, and measures its accuracy.",
    examples=(
        (
            "--config=image_folder --config.dataset.directory=photos",
            "Train on your own photos, which are in one folder per class.",
        ),
        (
            "--stage=predict --workdir=runs/mine --images=new-photos",
            "Classify other photos with the classifier that was trained in runs/mine.",
        ),
        (
            "--stage=update --workdir=runs/mine",
            "Train again after photos were added, and compare the new classifier with the old one.",
        ),
        (
            "--stage=export --workdir=runs/mine --output=photos.onnx",
            "Write this classifier as a file for ONNX Runtime, which needs neither Python nor JAX.",
        ),
        ("", "Train on handwritten digits, with and without mixing. Nothing is downloaded."),
        (
            "--config=cifair10:chimeramix_grid --config.max_labels_per_class=10",
            "Run a published experiment: ciFAIR-10 with ten images per class.",
        ),
    ),
    groups={
        "Subcommands (each has its own --help)": tuple(
            Entry(name, subcommand.summary) for name, subcommand in SUBCOMMANDS.items()
        ),
        "Settings": (
            Flag(
                "config=FILE[:EXPERIMENT]",
                "The settings: a Python file, or the name of one in configs/. docs/experiments.md lists the "
                "experiments, and docs/own_ideas.md says how a file adds experiments, networks and more of your own. "
                f"Default: those of the run in --workdir, or else {DEFAULT_CONFIG}. On a GPU, the "
                "name image_folder stands for image_folder_gpu.",
            ),
            Entry(
                "--config.KEY=VALUE",
                "Change one setting, such as --config.seed=1, --config.generator.epochs=50 or "
                "--config.generator.learning_rate_drops='(0.5, 0.8)'. chimeramix_jax/config/defaults.py documents all "
                "settings.",
            ),
            Entry(
                "--config.seeds=0,1,2",
                "Train several seeds together (0:3 means the same). Each has its own folder and gets the same results "
                "as when trained alone. A table with mean and 95 % interval is printed at the end.",
            ),
        ),
        "Where the run is stored": (
            Flag(
                "workdir=FOLDER",
                "The run's folder. A run that was interrupted continues from there, with its own settings if --config "
                "is left out. Default: a folder in runs/, named after data set, experiment and seed. For several "
                "seeds: the folder that contains theirs, or a pattern such as runs/mine-{seed}.",
            ),
        ),
        "What to train or measure": (
            Flag(
                "stage=" + "|".join(stages.ALL),
                "all (default): train, measure and report. Finished stages are not repeated.\n"
                "generator, classifier: train only this network.\n"
                "evaluate: measure the accuracy again.\n"
                "report: write report.html and model_card.md again.\n"
                "check: only look at the data: classes, image sizes, copies, unreadable files.\n"
                "update: if photos of the run in --workdir were added, removed or moved, train it again with the same "
                "settings, compare the new model with the old one, and keep the old one in a folder of the run.\n"
                "predict, generate, export: use the trained networks; see below.",
                default="all",
            ),
            Flag(
                "retrain",
                "Train the stage again even if it is finished. The old files are kept. If that is interrupted, the "
                "same command continues it.",
                default=False,
            ),
            Flag(
                "generator_workdir=FOLDER",
                "Use the generator of the run in this folder instead of training one. Default: that of a run beside "
                "this one, if it was trained with the same settings on the same images.",
            ),
        ),
        "Cross-validation: an accuracy from few images": (
            Flag(
                "folds=N",
                "Divide the training images into N folds and train a model without each, so that every image is "
                "predicted once by a model that has not seen it; then train the final model on all of them. The "
                "accuracy of these predictions is what to expect of the final model. Images in test/ are only used by "
                "the final model. The same as --config.folds=N.",
                lowest=2,
                highest=1000,
            ),
            Flag(
                "fold_repeats=N",
                "Repeat the division N times, with different folds. The same as --config.fold_repeats=N.",
                highest=1000,
            ),
        ),
        "A limit on the time": (
            Flag(
                "minutes=MINUTES",
                "Train for so many minutes altogether: the number of epochs depends on the machine's speed, and with "
                "image_folder the size of the images does, too. With --config=FILE:auto (30 minutes by default), "
                "recipes are compared for most of the time, and the best is trained; --config.recipes=NAMES chooses "
                "which are compared.",
                highest=100_000,
            ),
        ),
        "Using a trained run (--stage=predict, generate or export, with --workdir)": (
            Flag(
                "images=PATH[,PATH...]",
                "predict: the images to classify: files, folders, and patterns in quotes, such as 'more/*.jpg'.",
                repeatable=True,
            ),
            Flag(
                "explain=FOLDER",
                "predict: also write a picture of each image into this new folder, which shows what speaks for its "
                "class and what for another. docs/explanations.md says how to read it.",
            ),
            Flag(
                "reject_below=PROBABILITY",
                "predict: answer 'none of these' for images whose most probable class has a lower probability, from 0 "
                "to 1. The run's report shows what that costs, and docs/calibration.md what it cannot do.",
            ),
            Flag("count=N", "generate: how many mixed images to write, equally many per class."),
            Flag(
                "generate_seed=N",
                "generate: the random seed. The same seed gives the same images. Default: 0.",
                default=0,
                lowest=0,
                highest=settings.LARGEST_SEED,
            ),
            Flag(
                "format=NAME",
                "predict: table, csv or json. Default: by the ending of --output (.csv, .json), else table.\n"
                "generate: png (default) or array_record, a data set for TFDS.\n"
                "export: onnx, stablehlo, savedmodel, or model: one file that predict, report and export take as "
                "--workdir. Default: by the ending of --output: .onnx, .stablehlo, .savedmodel or .zip. "
                "docs/export.md describes them.",
            ),
            Flag("half", "export: store the weights in 16 bits, which halves the file.", default=False),
            Flag(
                "output=PATH",
                "predict: the file for the classes. Default, and -: standard output.\n"
                "generate: a new folder for the images. Default: generated, in the run's folder.\n"
                "export: the file, or a new folder for a SavedModel. Default: model.onnx and so on, in the run's "
                "folder.",
            ),
        ),
        "Other flags": (
            Entry("--help", "Print this text."),
            Entry("--version", "Print the version."),
        ),
    },
    exit_codes={
        0: "Everything is done.",
        1: "A disk or memory is full, or some of --images could not be read.",
        2: "A flag, setting or file cannot be used.",
        3: "A loss or a gradient was not finite.",
        130: "Stopped by Ctrl-C. The same command continues the run.",
        143: "Stopped by SIGTERM or SIGUSR1, or its terminal was closed. The same command continues the run.",
    },
)
