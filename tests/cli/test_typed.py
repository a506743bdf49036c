"""Every number that is typed anywhere is read by one reader."""

from __future__ import annotations

import inspect
import math
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faircut.cli import typed
from faircut.config.ranges import check_range, check_seed, read_float, read_int
from faircut.config.texts import check_prompt, check_text, escape_control
from faircut.errors import ConfigError

BAD = (
    "\u0663", "\u00b2", "+-3", "--3", "1_0", "nan", "inf", "-inf", "1e999", "9" * 5000, "0x10", "", " ", "1,5", "1 2",
    "one",
    "\u22123", "3\u00a0",
)  # fmt: skip


def _commands(command, *before: str):
    for name, part in command.commands.items():
        if hasattr(part, "commands"):
            yield from _commands(part, *before, name)
        else:
            yield (*before, name), part.callback


def _numbers():
    """Every flag of every command that is a number, found by what the commands declare."""
    from typer.main import get_command

    from faircut.cli import app

    for words, callback in _commands(get_command(app)):
        for parameter in inspect.signature(callback).parameters.values():
            hint, info = typing.get_args(parameter.annotation)[:2]
            kinds = set(typing.get_args(hint) or (hint,)) & {int, float}
            if kinds:
                names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
                yield (*words, max(names, key=len)), kinds


NUMBERS = dict(_numbers())


def test_the_numbers_are_found():
    assert len(NUMBERS) > 40
    assert ("edit", "--steps") in NUMBERS
    assert ("bench", "run", "--tuning-steps") in NUMBERS
    assert ("pocket", "train", "--minutes") in NUMBERS


@pytest.mark.parametrize("where", NUMBERS, ids=" ".join)
def test_a_flag_takes_no_odd_number(where, cli, tmp_path):
    *command, flag = where
    for text in BAD:
        result = cli(*command, f"{flag}={text}")
        assert result.code == 2
        assert not result.out
        assert result.err.count("\n") == 1
        assert flag in result.err
        assert "not a whole number" in result.err or "not a number" in result.err
        assert len(result.err) < 400
    assert not list(tmp_path.iterdir())


@given(st.integers(-(10**17), 10**17))
def test_whole_numbers_are_read(number):
    assert read_int(str(number)) == number
    assert read_int(f"{number:+d}") == number


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_are_read(number):
    assert read_float(repr(number)) == number


@given(st.text())
def test_nothing_else_than_a_finite_number_is_read(text):
    for read in (read_int, read_float):
        try:
            value = read(text)
        except ValueError:
            continue
        assert text.isascii()
        assert math.isfinite(value)


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.none(), st.just(10**4000)))
def test_a_range_lets_through_what_is_in_it(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value <= 10:
        check_range("it", value, 0, 10, above=True)
        return
    with pytest.raises(ConfigError) as error:
        check_range("it", value, 0, 10, above=True, flag="--it")
    assert "more than 0 and at most 10" in str(error.value)
    assert "--it" in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.0, "1", None])
def test_what_is_no_seed(seed):
    with pytest.raises(ConfigError, match="seed"):
        check_seed(seed)


@given(st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=0x2100)))
def test_what_is_shown_steers_no_terminal(text):
    shown = escape_control(text)
    assert all(
        character.isprintable() or character in "\u00a0\u00ad\u1680\u180e" or ord(character) > 0x9F
        for character in shown
    )
    assert len(shown.splitlines()) <= 1


@given(st.text(max_size=60))
def test_a_prompt_is_refused_or_can_be_written(text):
    try:
        check_prompt(text)
    except ValueError:
        return
    check_text(text, "it")
    assert text.encode() is not None


@pytest.mark.parametrize(
    ("text", "frame"), [("3", 3), ("-1", -1), ("+2", 2), ("first", "first"), ("\u0663", "\u0663"), ("1_0", "1_0")]
)
def test_a_frame_is_a_number_or_a_word(text, frame):
    assert typed.frame(text) == frame


@pytest.mark.parametrize("text", ["1/\u0663", "0/1", "3/2", "1", "1/2/3", "-1/2", "/", "1/", "a/b"])
def test_what_is_no_shard(text):
    with pytest.raises(ConfigError, match="1/2"):
        typed.shard_of(text)


@pytest.mark.parametrize("text", ["64x", "x", "6_4", "\u0663", "1x2x3", "", "64.0"])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        typed.size(text)
