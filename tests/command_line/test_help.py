"""The help text of the program and of its subcommands."""

import re
import shlex

import pytest

from chimeramix_jax.command_line import (
    help_text,
    main_command,
    program,
    reproduce,
    serve,
    subcommands,
    summarize,
    sweep,
    tune,
)
from chimeramix_jax.command_line.flags import Flag, parse
from chimeramix_jax.command_line.subcommands import SUBCOMMANDS

COMMANDS = {
    "run": main_command,
    "sweep": sweep,
    "tune": tune,
    "summarize": summarize,
    "reproduce": reproduce,
    "serve": serve,
}
PROGRAMS = ("chimeramix", "python main.py", "python -m chimeramix_jax")

every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@every_command
@pytest.mark.parametrize("name", PROGRAMS)
def test_help_fits_80_columns_and_begins_with_an_example_for_photos_if_it_is_about_any(command, name):
    text = help_text.render(command.HELP, name)
    assert max(map(len, text.splitlines())) < 80
    first_example = text.partition("Examples:\n")[2].partition("\n      ")[0]
    assert first_example.startswith(f"  {name} ") and ("photos" in first_example or command is reproduce)


@every_command
def test_help_names_every_flag_and_exit_code(command):
    text = help_text.render(command.HELP, "chimeramix")
    for flag in command.HELP.flags:
        assert re.search(rf"^  --(no)?{flag.name}\b", text, re.MULTILINE)
    for code in command.HELP.exit_codes:
        assert re.search(rf"^  {code} ", text.partition("Exit codes:")[2], re.MULTILINE)


def test_the_programs_help_names_every_subcommand():
    assert {name: subcommands.module(name) for name in SUBCOMMANDS} == {
        name: command for name, command in COMMANDS.items() if command is not main_command
    }
    usage, _, described = help_text.render(main_command.HELP, "chimeramix").partition("Subcommands")
    for name in SUBCOMMANDS:
        assert f" chimeramix {name} " in usage and f"\n  {name}\n" in described


@every_command
def test_examples_use_flags_that_exist(command):
    for arguments, _ in command.HELP.examples:
        _, rest = parse(shlex.split(arguments), command.HELP.flags)
        assert all(argument.startswith("--config.") or not argument.startswith("-") for argument in rest)


def test_an_example_that_is_broken_into_lines_is_a_command_for_a_shell():
    content = help_text.Help((), "", [("--images='more/*.jpg' " * 12, "Does something.")], {}, {})
    example = help_text.render(content, "chimeramix").partition("Examples:\n")[2].partition("\n      Does")[0]
    assert example.count(" \\\n") == example.count("\n") >= 2
    assert shlex.split(example.replace("\\\n", "")) == ["chimeramix", *["--images=more/*.jpg"] * 12]


def test_every_paragraph_of_a_description_begins_a_line():
    content = help_text.Help((), "", (), {"Group": [Flag("name=N", "one: a.\ntwo: b.")]}, {})
    assert "  --name=N\n      one: a.\n      two: b.\n" in help_text.render(content, "chimeramix")


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("subcommand", [[], ["sweep"], ["tune"], ["summarize"], ["reproduce"], ["serve"]])
def test_help_is_printed_whatever_other_flags_there_are(flag, subcommand, capsys):
    assert program.main([*subcommand, "--nosuch", flag]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("Usage: ") and errors == ""
