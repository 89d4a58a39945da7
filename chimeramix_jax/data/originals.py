"""What is known of a user's own images before they were resized."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Original:
    """An original image."""

    file: str  # its name, below the user's folder or in the user's file
    label: int  # its class index
    width: int  # in pixels, upright
    height: int
    digest: str  # of its pixels, from ``identity.image_digest``
    perceptual_hash: str  # from ``perceptual_hash.perceptual_hash``; empty if the image is of one colour or not hashed
    group: str = ""  # of images that no division separates, as the user's list says; empty: none


@dataclass(frozen=True)
class Originals:
    """The original images of a run's splits."""

    train: tuple[Original, ...]  # those of the few-shot subset
    held_out: tuple[Original, ...]  # those that classifiers are evaluated on
    unused: tuple[Original, ...]  # all others
    unreadable: tuple[str, ...]  # files that were skipped
