"""ciFAIR-10 and ciFAIR-100: CIFAR with new test images in place of near-duplicates of training images.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates", Journal of Imaging 2020;
https://cvjena.github.io/cifair/. The published zip contains the same pickles as CIFAR's Python version.
"""

import posixpath
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimeramix_jax.data.archives import Archive
from chimeramix_jax.data.builders.cifar_pickles import HUNDRED_CLASSES, TEN_CLASSES, CifarPickles
from chimeramix_jax.errors import InputError, one_line


class _Cifair(CifarPickles):
    """The common base of both."""

    HOMEPAGE = "https://cvjena.github.io/cifair/"

    def _read_members(self, path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
        """Reads the zip's only members of these base names.

        Nothing is extracted, so a member called ``../../something`` is never written to disk.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(_only_member(archive, name, path)) for name in names}
        except (InputError, MemoryError):
            raise
        except Exception as error:  # zipfile and zlib raise errors of many classes for a damaged file
            raise InputError(f"dataset.archive: {path} cannot be read as a zip: {one_line(error)}") from error


class Cifair10(_Cifair):
    """50,000 training and 10,000 test images of 32x32 pixels in 10 classes."""

    name = "chimeramix_cifair10"
    DATASET = "cifair10"
    ARCHIVE = Archive(
        url="https://github.com/cvjena/cifair/releases/download/v1.0/ciFAIR-10.zip",
        md5="ca08fd390f0839693d3fc45c4e49585f",
    )
    LAYOUT = TEN_CLASSES


class Cifair100(_Cifair):
    """50,000 training and 10,000 test images of 32x32 pixels in 100 classes."""

    name = "chimeramix_cifair100"
    DATASET = "cifair100"
    ARCHIVE = Archive(
        url="https://github.com/cvjena/cifair/releases/download/v1.0/ciFAIR-100.zip",
        md5="ddc236ab4b12eeb8b20b952614861a33",
    )
    LAYOUT = HUNDRED_CLASSES


BUILDERS: Mapping[str, type[_Cifair]] = {builder.DATASET: builder for builder in (Cifair10, Cifair100)}


def _only_member(archive: zipfile.ZipFile, base_name: str, path: Path) -> str:
    names = [name for name in archive.namelist() if posixpath.basename(name) == base_name]
    if len(names) != 1:
        raise InputError(f"dataset.archive: {path} contains {len(names) or 'no'} files called {base_name}, not one")
    return names[0]
