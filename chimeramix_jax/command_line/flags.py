"""Flags: their definition, and parsing them with absl in one style, ``--name=value``, for every subcommand."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from absl import flags

from chimeramix_jax.errors import InputError, nearest, not_one_of

HELP_FLAGS = ("--help", "-help", "-h", "-?")

_END = "--"  # behind it, nothing is a flag


@dataclass(frozen=True)
class Flag:
    """A flag of a subcommand, in the form in which the help shows it.

    The value in the form says what is allowed: ``workers=N`` takes a whole number, ``minutes=MINUTES`` a number above
    0, ``reject_below=PROBABILITY`` a number from 0 to 1, ``launcher=local|slurm|ray`` one of these names, and any other
    word, as in ``workdir=FOLDER``, any text. A form without a value is a switch.
    """

    form: str
    description: str  # what it does, for the help; each line is a paragraph
    default: Any = None
    lowest: int = 1  # of a whole number
    highest: int | None = None  # of a number
    repeatable: bool = False  # it may be given several times; its value is a list, or the default

    @property
    def name(self) -> str:
        """The name, without dashes."""
        return self.form.partition("=")[0]

    @property
    def value(self) -> str:
        """How the help writes the value; empty for a switch."""
        return self.form.partition("=")[2]

    @property
    def heading(self) -> str:
        """The flag as the help writes it; a switch that is on by default is shown as what turns it off."""
        return f"--no{self.form}" if self.default is True else f"--{self.form}"

    def read(self, text: str) -> str | int | float:
        """Returns the value that a text stands for; raises InputError if it is not allowed."""
        if "|" in self.value and text not in self.value.split("|"):
            raise not_one_of(f"--{self.name}", text, self.value.split("|"))
        if self.value == "PROBABILITY":
            return self._decimal(text, lambda number: 0 <= number <= 1, "a number from 0 to 1, such as 0.6")
        if self.value == "MINUTES":
            highest = self.highest or math.inf
            limit = "" if self.highest is None else f" and at most {self.highest}"
            allowed = f"a number of minutes above 0{limit}, such as 10 or 1.5"
            return self._decimal(text, lambda number: 0 < number <= highest, allowed)
        if self.value != "N":
            return text
        number = int(text) if re.fullmatch("[0-9]{1,18}", text) else -1
        if number < self.lowest or (self.highest is not None and number > self.highest):
            allowed = f"a whole number from {self.lowest}" + ("" if self.highest is None else f" to {self.highest}")
            raise self._refusal(text, allowed)
        return number

    def _decimal(self, text: str, is_allowed: Callable[[float], bool], allowed: str) -> float:
        """Returns the number that a text stands for, in decimals without an exponent."""
        number = float(text) if re.fullmatch(r"[0-9]{0,18}\.?[0-9]{1,18}|[0-9]{1,18}\.", text, re.ASCII) else -1.0
        if not is_allowed(number):
            raise self._refusal(text, allowed)
        return number

    def _refusal(self, text: str, allowed: str) -> InputError:
        return InputError(f"--{self.name}: {text!r} is not allowed; it must be {allowed}")


class Arguments(SimpleNamespace):
    """The values of a subcommand's flags, each an attribute, and ``given``: the names of the flags that were given."""

    given: frozenset[str]


def parse(arguments: Sequence[str], definitions: Iterable[Flag]) -> tuple[Arguments, list[str]]:
    """Parses the defined flags, wherever they stand, and returns the other arguments in their order.

    Raises InputError for a flag without a value, with one that is not allowed, or with two different ones; and for an
    argument behind ``--``, which only commands that take names understand (``parse_with_names``).
    """
    before, behind = at_the_end_of_flags(arguments)
    if behind:
        raise _not_understood(behind[0])
    return _parsed(before, definitions)


def parse_with_names(arguments: Sequence[str], definitions: Iterable[Flag]) -> tuple[Arguments, list[str], list[str]]:
    """Parses the defined flags as ``parse`` does, and returns the names and then the flags that are not defined.

    Names are arguments that are no flags, such as those of folders; behind ``--``, all are names.
    """
    before, behind = at_the_end_of_flags(arguments)
    parsed, rest = _parsed(before, definitions)
    named = [argument for argument in rest if not argument.startswith("-")]
    return parsed, [*named, *behind], [argument for argument in rest if argument.startswith("-")]


def at_the_end_of_flags(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the arguments before ``--``, which ends the flags, and those behind it; all are before it without it."""
    end = list(arguments).index(_END) if _END in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def _parsed(arguments: Sequence[str], definitions: Iterable[Flag]) -> tuple[Arguments, list[str]]:
    defined = {flag.name: flag for flag in definitions}
    parsed = flags.FlagValues()
    parsed.set_gnu_getopt(True)  # flags may stand behind other arguments
    for flag in defined.values():  # absl keeps only the last value of a flag, unless it may be given several times
        if flag.value:
            flags.DEFINE_multi_string(flag.name, None, "", flag_values=parsed)
        else:
            switch = flags.BooleanParser()
            flags.DEFINE_multi(switch, flags.ArgumentSerializer(), flag.name, None, "", parsed, boolean=True)
    try:
        rest = parsed(["", *(_without_hyphen(argument, defined) for argument in arguments)], known_only=True)[1:]
    except (flags.Error, ValueError) as error:
        raise InputError(_explain(str(error))) from None
    values = {flag.name: _value(flag, parsed[flag.name]) for flag in defined.values()}
    return Arguments(**values, given=frozenset(name for name in defined if parsed[name].present)), rest


def refuse_unknown(rest: Iterable[str], definitions: Iterable[Flag], keys: Iterable[str] = ()) -> None:
    """Raises InputError for the first of the arguments that no flag has taken, and names the flag probably meant.

    ``keys`` are the settings that ``--config.KEY=VALUE`` may change.
    """
    for argument in rest:
        if not argument.startswith("-"):
            raise _not_understood(argument)
        name = argument.lstrip("-").partition("=")[0]
        near = [f"config.{key}" for key in keys if key == name or key.endswith(f".{name}")]
        near = near or [nearest(name, [flag.name for flag in definitions])]
        *others, last = [f"--{other}" for other in near if other] or [""]
        meant = f"{', '.join(others)} or {last}" if others else last
        hint = f" (did you mean {meant}?)" if meant else ""
        raise InputError(f"--{name}: unknown flag{hint}; --help lists the flags")


def _not_understood(argument: str) -> InputError:
    return InputError(f"{argument!r}: not understood; flags start with --, and --help lists them")


def _value(flag: Flag, parsed: Any) -> Any:
    """Returns the value of a flag that absl has parsed; raises InputError for a single one that has several."""
    if not parsed.present:
        return flag.default
    values = [flag.read(value) if flag.value else value for value in parsed.value]
    if flag.repeatable:
        return values
    other = next((value for value in values if value != values[0]), None)
    if other is not None:
        given = f"is given twice, as {values[0]!r} and {other!r}" if flag.value else "is switched both on and off"
        listed = f", as in --{flag.name}={values[0]},{other}" if flag.value in ("NAMES", "NUMBERS") else ""
        raise InputError(f"--{flag.name}: {given}; give it once{listed}")
    return values[0]


def _without_hyphen(argument: str, defined: dict[str, Flag]) -> str:
    """``--no-switch`` as absl writes it, ``--noswitch``; anything else as it is."""
    switch = defined.get(argument.removeprefix("--no-"))
    return f"--no{switch.name}" if argument.startswith("--no-") and switch and not switch.value else argument


def _explain(error: str) -> str:
    """Returns a message of absl in this program's words."""
    if missing := re.fullmatch(r"Missing value for flag --?(.*)", error):
        return f"--{missing[1]}: its value is missing; write --{missing[1]}=VALUE"
    if wrong := re.match(r"flag --(\w+)=(.*): \('Non-boolean", error, re.DOTALL):
        return f"--{wrong[1]}: {wrong[2]!r} is not allowed; it must be true or false"
    return error
