"""Parsing flags: the same forms for every subcommand."""

import re

import pytest

from chimeramix_jax.command_line import main_command
from chimeramix_jax.command_line.flags import Flag, parse, parse_with_names, refuse_unknown
from chimeramix_jax.errors import InputError

FLAGS = [
    Flag("name=TEXT", "", default="nobody"),
    Flag("count=N", "", highest=9),
    Flag("kind=grid|segments", ""),
    Flag("least=PROBABILITY", ""),
    Flag("option=TEXT", "", default=(), repeatable=True),
    Flag("curves", "", default=True),
    Flag("retry", "", default=False),
]


def test_without_arguments_every_flag_has_its_default_and_none_is_given():
    parsed, rest = parse([], FLAGS)
    assert (parsed.name, parsed.count, parsed.kind, parsed.option) == ("nobody", None, None, ())
    assert (parsed.curves, parsed.retry, parsed.given, rest) == (True, False, frozenset(), [])


def test_values_follow_an_equals_sign_or_a_space_and_flags_stand_anywhere():
    parsed, rest = parse(["first", "--name", "a", "--config.seed=1", "--count=2", "-kind=grid", "last"], FLAGS)
    assert (parsed.name, parsed.count, parsed.kind) == ("a", 2, "grid")
    assert parsed.given == {"name", "count", "kind"}
    assert rest == ["first", "--config.seed=1", "last"]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1", 1), ("0.60", 0.6), (".5", 0.5), ("1.", 1)])
def test_a_probability_is_read(text, number):
    assert parse([f"--least={text}"], FLAGS)[0].least == number


def test_a_repeatable_flag_keeps_every_value_and_others_may_be_given_twice_with_the_same():
    parsed, _ = parse(["--option=a", "--option=b=c", "--name=x", "--name", "x", "--retry", "--retry=true"], FLAGS)
    assert (parsed.option, parsed.name, parsed.retry) == (["a", "b=c"], "x", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name=x", "-name", "y"], "--name: is given twice, as 'x' and 'y'; give it once"),
        (["--seeds=0", "--seeds=1"], "--seeds: is given twice, as '0' and '1'; give it once, as in --seeds=0,1"),
        (["--curves", "--retry", "--no-curves"], "--curves: is switched both on and off; give it once"),
        (["--retry=false", "--retry"], "--retry: is switched both on and off; give it once"),
    ],
)
def test_a_flag_with_two_values_is_refused(arguments, message):
    with pytest.raises(InputError) as error:
        parse(arguments, [*FLAGS, Flag("seeds=NUMBERS", "")])
    assert str(error.value) == message


def test_behind_two_dashes_everything_is_a_name():
    parsed, named, unknown = parse_with_names(["a", "--count=2", "--nosuch", "b", "--", "-r", "--retry", "--"], FLAGS)
    assert (parsed.count, parsed.retry) == (2, False)
    assert (named, unknown) == (["a", "b", "-r", "--retry", "--"], ["--nosuch"])


def test_two_dashes_end_the_flags_of_commands_without_names():
    assert parse(["--count=2", "--"], FLAGS)[0].count == 2
    with pytest.raises(InputError, match=r"^'--retry': not understood"):
        parse(["--", "--retry"], FLAGS)
    with pytest.raises(InputError, match=r"^--name: its value is missing"):
        parse(["--name", "--"], FLAGS)


@pytest.mark.parametrize("argument", ["--nocurves", "--no-curves", "--curves=false", "--curves=False"])
def test_a_switch_is_turned_off(argument):
    assert parse([argument], FLAGS)[0].curves is False


@pytest.mark.parametrize("argument", ["--retry", "--retry=true"])
def test_a_switch_is_turned_on(argument):
    assert parse([argument], FLAGS)[0].retry is True


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--count=0", "--count: '0' is not allowed; it must be a whole number from 1 to 9"),
        ("--count=10", "--count: '10' is not allowed; it must be a whole number from 1 to 9"),
        ("--count=2.0", "--count: '2.0' is not allowed; it must be a whole number from 1 to 9"),
        ("--count=-1", "--count: '-1' is not allowed; it must be a whole number from 1 to 9"),
        ("--count=½", "--count: '½' is not allowed; it must be a whole number from 1 to 9"),
        ("--least=60", "--least: '60' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--least=1.01", "--least: '1.01' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--least=-0.1", "--least: '-0.1' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--least=nan", "--least: 'nan' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--least=0,6", "--least: '0,6' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--least=.", "--least: '.' is not allowed; it must be a number from 0 to 1, such as 0.6"),
        ("--kind=grids", "--kind: 'grids' is not known (did you mean 'grid'?); allowed: grid, segments"),
        ("--retry=maybe", "--retry: 'maybe' is not allowed; it must be true or false"),
        ("--name", "--name: its value is missing; write --name=VALUE"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_the_name_of_its_flag(argument, message):
    with pytest.raises(InputError) as error:
        parse([argument], FLAGS)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--nmae=x", "--nmae: unknown flag (did you mean --name?); --help lists the flags"),
        ("--zzz", "--zzz: unknown flag; --help lists the flags"),
        ("--seed=1", "--seed: unknown flag (did you mean --config.seed?); --help lists the flags"),
        ("photos", "'photos': not understood; flags start with --, and --help lists them"),
    ],
)
def test_what_no_flag_takes_is_refused_with_what_was_meant(argument, message):
    with pytest.raises(InputError) as error:
        refuse_unknown([argument], FLAGS, ["seed", "generator.epochs"])
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.experiment=baseline"], "experiment: 'baseline', but the settings are those of 'chimeramix_grid'"),
        (["--folds=5", "--config.folds=3"], "folds: is set twice, to '5' and '3'; set it once"),
        (["--config.seeds=0:2", "--config.seed=7"], "seed: was set, but seeds lists the seeds"),
        (["--stage=evaluate", "--retrain"], "--retrain: --stage=evaluate does not take it"),
        (
            ["--stage=check", "--workdir=runs/none"],
            "--workdir=runs/none: holds no run, so --stage=check also",
        ),
    ],
)
def test_what_would_be_ignored_or_mean_something_else_is_refused(arguments, expected):
    with pytest.raises(InputError, match=f"^{re.escape(expected)}"):
        main_command.parse_arguments(arguments)
