"""What all command lines share: one-line errors, checked values, which options a line gives."""

import argparse

import pytest

from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, number, option, whole_number


@pytest.fixture
def parser() -> Parser:
    parser = Parser("Something.")
    option(parser, "--size H W", whole_number(32, 64), (32, 64), "size of the input")
    option(parser, "--epoch/--epochs N", whole_number(1), 30, "epochs")
    option(parser, "--mode", str, None, "mode", choices=("a", "b"))
    flag(parser, "--fast", "quickly")
    return parser


def test_the_help_shows_names_values_and_defaults(parser):
    text = parser.format_help()
    assert "--size H W" in text and "size of the input (default (32, 64))" in text
    assert "--epochs" in text and "epochs (default 30)" in text
    assert "--mode {a,b}" in text and "mode (default" not in text


def test_given_names_the_options_of_the_line_even_at_their_defaults(parser):
    assert parser.given([]) == set()
    assert parser.given(["--epochs", "30", "--fast"]) == {"epoch", "fast"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--epoch", "0"], "argument --epoch/--epochs: '0'; expected a whole number, 1 or more"),
        (["--size", "32", "65"], "argument --size: '65'; expected a whole number, 32 to 64"),
        (["--fas"], "unrecognized arguments: --fas"),
    ],
)
def test_a_wrong_line_ends_with_one_line_and_exit_code_2(parser, capsys, line, message):
    with pytest.raises(SystemExit) as end:
        parser.parse_args(line)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {message} (--help lists the options)\n"


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", "1.5"])
def test_a_number_is_finite_and_in_its_range(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number, from 0 to 1"):
        number(0, 1)(text)
    assert number(0, 1)("0.5") == 0.5


def test_a_number_without_an_upper_bound_is_finite():
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number, 2 or more"):
        number(2)("inf")


@pytest.mark.parametrize("kind", [nonempty_text, nonempty_path])
def test_a_blank_text_is_an_unset_variable(kind):
    with pytest.raises(argparse.ArgumentTypeError, match="is a variable not set"):
        kind(" ")
    assert str(kind("a b")) == "a b"
