"""The space that a search draws settings from: how it is written, what is refused, and the default.

A space is a list of ``KEY=LOW:HIGH``, ``KEY=LOW:HIGH:log`` and ``KEY=A|B|C``, separated by commas.
"""

import math
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import SETTINGS
from chimeramix_jax.errors import InputError

Value = bool | int | float | str

# Other settings choose the data, the images to judge by, the seed or how the work is done: trials must agree in them.
_SEARCHABLE = ("augment.", "mixing.", "generator.", "classifier.", *settings.OF_MEASURING)
_GRAMMAR = "LOW:HIGH, LOW:HIGH:log or A|B|C"
_LOGARITHMIC = "log"
_MASK = "mixing.mask"
_DIGITS = 3  # significant digits of the numbers that are tried; more would only look exact


@dataclass(frozen=True)
class Range:
    """A setting that is a number between two others, both included."""

    key: str
    low: float  # an int if ``whole``
    high: float
    logarithmic: bool  # whether the logarithm is drawn evenly, not the number
    whole: bool

    @property
    def text(self) -> str:
        """The range as it is written."""
        return f"{plain(self.low)}:{plain(self.high)}" + (f":{_LOGARITHMIC}" if self.logarithmic else "")

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values whose combination with all other settings is checked before the search begins."""
        return self.low, self.high

    def value(self, drawn: Value) -> Value:
        """Returns the setting for a number that was drawn: rounded, but not out of the range."""
        assert isinstance(drawn, int | float)
        return int(drawn) if self.whole else min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def includes(self, value: object) -> bool:
        """Whether the setting may have this value."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """A setting that has one of several values."""

    key: str
    values: tuple[Value, ...]

    @property
    def text(self) -> str:
        """The values as they are written."""
        return "|".join(map(str, self.values))

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values whose combination with all other settings is checked before the search begins."""
        return self.values

    def value(self, drawn: Value) -> Value:
        """Returns the setting for a value that was drawn."""
        return drawn

    def includes(self, value: object) -> bool:
        """Whether the setting may have this value."""
        return value in self.values


Dimension = Range | Choice
Space = tuple[Dimension, ...]


def plain(number: float) -> str:
    """Returns a number as it is written; the smallest one above 0, where 0 itself is not allowed, as 0."""
    return f"{number:.6g}" if abs(number) > sys.float_info.min else "0"


def parse(text: str) -> dict[str, str]:
    """Returns what a space says of each setting; raises InputError unless it is a list of ``KEY=...``."""
    described: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, separator, values = (piece.strip() for piece in part.partition("="))
        if not separator or not key:
            raise InputError(f"--search: {part!r} is not allowed; it must be KEY={_GRAMMAR}")
        if key in described:
            raise InputError(f"{key}: is given twice in --search; it must be given once")
        described[key] = values
    return described


def space_of(described: Mapping[str, str | Sequence[Value]], config: ConfigDict) -> Space:
    """Returns the space that is described by ranges or values for each setting, for trials with these settings.

    Raises InputError, which names the setting, if it cannot be searched or has values that are not allowed, also in
    combination with the other settings.
    """
    if not described:
        raise InputError(f"--search: is empty; it must be a list of KEY={_GRAMMAR}")
    space = tuple(_dimension(key, values, config) for key, values in described.items())
    searched = {dimension.key for dimension in space}
    for dimension in space:
        _refuse_without_effect(dimension.key, searched, config)
        for value in dimension.extremes:
            try:
                settings.check(_changed(config, {dimension.key: value}), environment=False)
            except InputError as error:
                raise InputError(f"{dimension.key}: cannot be {value!r} in this search, because {error}") from None
    return space


def default(config: ConfigDict) -> dict[str, str]:
    """Returns the space that is searched unless another is given: what matters most to a classifier."""
    rate, epochs = config.classifier.learning_rate, config.classifier.epochs
    described = {
        "classifier.learning_rate": f"{rate / 10:.3g}:{rate * 10:.3g}:log",
        "classifier.weight_decay": "1e-5:0.03:log",
        "classifier.epochs": f"{max(epochs // 2, 1)}:{epochs * 2}:log",
        "augment.policy": "none|trivialaugment",
    }
    if config.mixing.mask != "none":
        described["mixing.probability"] = "0.1:0.9"
    return described


def _changed(config: ConfigDict, values: Mapping[str, Value]) -> ConfigDict:
    """Returns a copy of the settings with other values of some."""
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(values)
    return changed


def _dimension(key: str, described: str | Sequence[Value], config: ConfigDict) -> Dimension:
    settings.check_key(key, SETTINGS)
    if not key.startswith(_SEARCHABLE):
        raise InputError(
            f"{key}: cannot be searched, because all trials must agree in it; settings of augment, mixing, generator "
            f"and classifier can be searched, and {' and '.join(settings.OF_MEASURING)}"
        )
    current = settings.flatten(config)[key]
    if not isinstance(current, bool | int | float | str):
        raise InputError(f"{key}: cannot be searched, because its values are lists; set it with --config.{key}=VALUE")
    if not isinstance(described, str):
        return _choice(key, [str(value) for value in described], config)
    if "|" in described:
        return _choice(key, described.split("|"), config)
    if ":" in described:
        return _range(key, described, current)
    raise InputError(
        f"{key}: {described!r} leaves nothing to search; it must be {_GRAMMAR}, and --config.{key}=VALUE sets a value"
    )


def _refuse_without_effect(key: str, searched: Set[str], config: ConfigDict) -> None:
    """Raises InputError for settings of mixing, of the generator or of a head where trials have none of it."""
    if key.startswith("mixing.") and key != _MASK and config.mixing.mask == "none" and _MASK not in searched:
        raise InputError(f"{key}: has no effect, because {_MASK} is 'none'; begin with an experiment that mixes")
    if key == "classifier.tvmf_kappa" and config.classifier.head != "tvmf" and "classifier.head" not in searched:
        raise InputError(f"{key}: has no effect, because classifier.head is not 'tvmf'; begin with baseline_tvmf")
    chosen = {_MASK, "mixing.of"} & searched
    if key.startswith("generator.") and not chosen and not settings.needs_generator(config):
        raise InputError(f"{key}: has no effect, because experiment {config.experiment!r} uses no generator")


def _choice(key: str, texts: Sequence[str], config: ConfigDict) -> Choice:
    values: list[Value] = []
    for text in map(str.strip, texts):
        parsed = config.copy_and_resolve_references()
        settings.override(parsed, [f"--config.{key}={text}"])
        value = settings.flatten(parsed)[key]
        settings.check_value(key, value)
        if value in values:
            raise InputError(f"{key}: {text!r} is given twice in {'|'.join(texts)!r}; every value must be given once")
        values.append(value)
    if len(values) < 2:
        raise InputError(f"{key}: {'|'.join(texts)!r} leaves nothing to search; it must be at least two values A|B")
    return Choice(key, tuple(values))


def _range(key: str, described: str, current: Value) -> Range:
    if isinstance(current, bool | str):
        raise InputError(f"{key}: {described!r} is a range, but its values are not numbers; write them as A|B|C")
    whole, parts = isinstance(current, int), described.split(":")
    logarithmic = parts[-1].strip() == _LOGARITHMIC
    numbers = [_number(part, whole) for part in (parts[:-1] if logarithmic else parts)]
    if len(numbers) != 2 or None in numbers:
        kind = "whole numbers" if whole else "numbers"
        raise InputError(f"{key}: {described!r} is not allowed; it must be LOW:HIGH or LOW:HIGH:log, two {kind}")
    low, high = (number for number in numbers if number is not None)
    if low >= high:
        raise InputError(f"{key}: {described!r} is empty; the first number must be below the second")
    if logarithmic and low <= 0:
        raise InputError(f"{key}: {described!r} is not allowed; with :{_LOGARITHMIC} both numbers must be above 0")
    if not whole:
        low, high = _inside(key, low, high), _inside(key, high, low)
    for value in (low, high):
        settings.check_value(key, value)
    if whole:
        for value in range(int(low), int(high) + 1):
            settings.check_value(key, value)  # such as multiples of four; then the values have to be listed
    return Range(key, low, high, logarithmic, whole)


def _inside(key: str, bound: float, other: float) -> float:
    """Returns the next number inside a range if its end is not allowed itself, as 0 of "above 0 and up to 1"."""
    nearest = math.nextafter(bound, other)
    allowed = SETTINGS[key].holds
    return nearest if not allowed(bound) and allowed(nearest) else bound


def _number(text: str, whole: bool) -> float | None:
    """Returns a finite number, an int if ``whole``; None if the text is none."""
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
