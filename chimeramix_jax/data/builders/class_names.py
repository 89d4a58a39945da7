"""Which names classes may have: TFDS writes them as lines of text, and they become names of folders and files."""

import re
import unicodedata
from collections.abc import Callable, Sequence

_MOST_BYTES = 200  # file systems allow names of 255, and some files are named after a class with something added
_RULE = (
    "its name must be a line of Unicode text without spaces at its ends, of at most "
    f"{_MOST_BYTES} bytes in UTF-8, and not . or .."
)

_SEPARATORS = re.compile(r"[\s_-]+")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_WHOLE_NUMBER = re.compile(r"(\d+)\.0*")
_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for bytes that are not UTF-8
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_TAGS = range(0xE0000, 0xE0080)  # invisible, but they tell flags apart


def problem_with(names: Sequence[str], kind: str, place: str = "") -> str | None:
    """Returns what is wrong with the names of classes, as the end of an error message; None: nothing is.

    ``kind`` says what has the names, such as ``class folder``, and ``place`` may say where, such as `` in photos``.
    """
    for name in names:
        if not _is_usable(name):
            return f"rename the {kind} {name!r}{place}; {_RULE}"
    if alike := _equal(names, _visible):
        first, second = alike  # with codes in place of what cannot be seen
        names_differ = f"{first!a} or {second!a}{place}; the names differ only in characters that cannot be seen"
        return f"rename the {kind} {names_differ}"
    if alike := _equal(names, _without_capitals):
        first, second = alike
        return f"rename the {kind} {first!r} or {second!r}{place}; the names differ only in capital letters or spaces"
    return None


def alike(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the groups of names that may mean the same class, such as ``car_1`` and ``car-01``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_loosely(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _equal(names: Sequence[str], form: Callable[[str], str]) -> tuple[str, str] | None:
    """Returns the first two different names that are equal in a form; None if there are none."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(form(name), name)
        if other != name:
            return other, name
    return None


def _without_capitals(name: str) -> str:
    """Returns a name in small letters and with single spaces: ``Cat`` and ``cat`` are hardly different classes."""
    return " ".join(name.split()).casefold()


def _loosely(name: str) -> str:
    """Returns a name without capitals and leading zeros, with spaces for hyphens and underscores."""
    words = " ".join(_SEPARATORS.split(_without_capitals(unicodedata.normalize("NFKC", name)))).strip()
    if whole := _WHOLE_NUMBER.fullmatch(words):
        words = whole[1]
    return _LEADING_ZEROS.sub("", words)


def _is_usable(name: str) -> bool:
    """Returns whether a class may have this name: whether it follows ``_RULE``."""
    if name != name.strip() or len(name.splitlines()) != 1 or "\0" in name or _SURROGATE.search(name):
        return False
    # Published labels may contain slashes, of which none must lead out of a folder.
    return len(name.encode()) <= _MOST_BYTES and not {".", ".."} & set(name.split("/"))


def _visible(name: str) -> str:
    """Returns a name without invisible characters, with plain spaces, and with its letters composed."""
    shown = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in name if _is_shown(letter))
    return unicodedata.normalize("NFC", shown.strip())


def _is_shown(letter: str) -> bool:
    code = ord(letter)
    return code in _TAGS or not (unicodedata.category(letter) == "Cf" or code in _VARIATION_SELECTORS)
