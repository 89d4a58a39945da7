"""The help text of each subcommand, laid out for a terminal of 80 columns."""

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chimeramix_jax.command_line.flags import Flag
from chimeramix_jax.runtime import invocation

WIDTH = 79  # some terminals of 80 columns break a line that fills the last one

_STEP = "  "
_CONTINUED = " \\"  # at the end of a command's line


@dataclass(frozen=True)
class Entry:
    """Something else that the help lists among the flags, such as ``--config.KEY=VALUE``."""

    heading: str
    description: str


@dataclass(frozen=True)
class Help:
    """What the help of a subcommand says."""

    usage: Sequence[str]  # the ways to call it, each without the program's name
    summary: str
    examples: Sequence[tuple[str, str]]  # arguments, and what they do
    groups: Mapping[str, Sequence[Flag | Entry]]  # flags by purpose, each purpose with its title
    exit_codes: Mapping[int, str]

    @property
    def flags(self) -> list[Flag]:
        """The flags of all groups."""
        return [flag for group in self.groups.values() for flag in group if isinstance(flag, Flag)]


def program_name() -> str:
    """How the program is started from the current folder, for examples that can be copied."""
    return shlex.join(invocation.from_here())


def render(content: Help, program: str) -> str:
    """Returns the help text, without a line break at its end."""
    return "\n".join(_lines(content, program))


def _lines(content: Help, program: str) -> Iterator[str]:
    for number, usage in enumerate(content.usage):
        yield from _filled(f"{program} {usage}", "       " if number else "Usage: ", "         ")
    yield ""
    yield from _filled(content.summary)
    yield from ("", "Examples:")
    for arguments, description in content.examples:
        yield from _command(f"{program} {arguments}".rstrip())
        yield from _filled(description, 3 * _STEP)
    for title, entries in content.groups.items():
        yield from ("", f"{title}:")
        for entry in entries:
            yield from _heading(entry.heading)
            for paragraph in entry.description.split("\n"):
                yield from _filled(paragraph, 3 * _STEP, (4 if "\n" in entry.description else 3) * _STEP)
    yield from ("", "Exit codes:")
    for code, meaning in content.exit_codes.items():
        yield from _filled(meaning, f"{_STEP}{code:<5}", 3 * _STEP + " ")


def _heading(heading: str) -> Iterator[str]:
    """Yields a heading; one that is too long is broken after a "|"."""
    indent = _STEP
    while len(indent + heading) > WIDTH and "|" in heading:
        end = heading.rindex("|", 0, WIDTH - len(indent)) + 1
        yield indent + heading[:end]
        indent, heading = 2 * _STEP, heading[end:]
    yield indent + heading


def _filled(text: str, first: str = "", others: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if others is None else others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _command(command: str) -> list[str]:
    """A command that a shell understands as it stands, with a backslash before each line break."""
    room = WIDTH - len(2 * _STEP) - len(_CONTINUED)
    lines = textwrap.wrap(command, room, break_long_words=False, break_on_hyphens=False)
    return f"{_CONTINUED}\n{2 * _STEP}".join([f"{_STEP}{lines[0]}", *lines[1:]]).split("\n")
