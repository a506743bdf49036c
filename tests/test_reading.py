"""The strict reader: whatever a file holds, it is read as plain values, or refused in one line of ours."""

from __future__ import annotations

import json
import math
import os
import time

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faircut.config import reading
from faircut.config.reading import (
    dump_yaml,
    parse_json,
    parse_yaml,
    read_json,
    read_table,
    read_text,
    read_yaml,
    set_aside,
    short_repr,
)
from faircut.errors import ConfigError, DamagedFileWarning

TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff\ufeff"), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
FEW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain(value):
    """Whether a value is of plain, finite values, with text as keys."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)


def refusal(read, *arguments):
    """What was said of a text that was refused; empty if it was read as plain values."""
    try:
        found = read(*arguments)
    except ConfigError as error:
        return str(error)
    assert plain(found)
    return ""


def read_or_refused(read, *arguments):
    said = refusal(read, *arguments)
    assert "\n" not in said
    assert len(said) < 1000


@FEW
@given(PLAIN)
@example("1e3")
@example("1.5e3")
@example("0o7")
@example("1:30")
@example("<<")
@example("=")
@example({"yes": "no", "1": "010", "~": "2001-02-30"})
def test_what_is_written_is_read_as_the_same(value):
    again = parse_yaml(dump_yaml(value, allow_unicode=True, width=110))
    assert again == value
    # As another reader, with the rules of YAML 1.1, reads it: what is text for us is text for it.
    if isinstance(value, str):
        assert yaml.safe_load(dump_yaml(value)) == value
    assert parse_json(json.dumps(value)) == value
    assert plain(again)


@FEW
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    for read in (read_yaml, read_json, read_text, read_table):
        said = refusal(read, path, "it")
        assert not said or said.startswith(f"cannot read it {path}: ")


PIECES = [*"ab01.:-?*&!|>%@#,[]{}\"'<=~ \n\t\\x", "- ", "&a ", "*a", "!!", "<<: ", "a: "]
TOKENS = [*'ab01.:-,[]{}" \n\\ueE', "NaN", "null", "\\ud800", "1e999", '"a": ']


@FEW
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_anything_that_looks_like_yaml_is_read_or_refused(text):
    read_or_refused(parse_yaml, text)


@FEW
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_anything_that_looks_like_json_is_read_or_refused(text):
    read_or_refused(parse_json, text)


def test_words_and_numbers_are_what_they_look_like():
    found = parse_yaml(
        "{a: 1e-3, b: 010, c: 1:30, d: 2024-02-30, e: 0x, f: 0x1F, g: 1_000, h: off, i: ~, j: 0o17, k: '1', l: ! 1, m: "
        "-.5}"
    )
    assert found == {
        "a": 1e-3, "b": "010", "c": "1:30", "d": "2024-02-30", "e": "0x", "f": 31, "g": 1000, "h": False, "i": None,
        "j": 15,
        "k": "1", "l": "1", "m": -0.5,
    }  # fmt: skip
    assert parse_yaml("yes: 1\n2: x\nnull: y\n2024-01-01: z") == {"yes": 1, "2": "x", "null": "y", "2024-01-01": "z"}
    assert parse_yaml("a: &x {b: 1, c: 2}\nd: {<<: [*x, {b: 7, e: 3}], c: 4}")["d"] == {"b": 1, "c": 4, "e": 3}


def test_limits_count_what_aliases_stand_for(monkeypatch):
    monkeypatch.setattr(reading, "MAX_NODES", {"yaml": 50, "json": 50})
    monkeypatch.setattr(reading, "MAX_DEPTH", 5)
    assert parse_yaml("[&a [1, 2], *a, *a]") == [[1, 2]] * 3
    with pytest.raises(ConfigError, match=r"line 3, c\[1\]: it has more than 50 values with its aliases expanded"):
        parse_yaml("a: &a [1, 1, 1, 1]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b]")
    with pytest.raises(ConfigError, match=r"line 2, b\[0\]\[0\]: lists and mappings are nested more than 5 deep"):
        parse_yaml("a: &a [[[1]]]\nb: [[*a]]")
    with pytest.raises(ConfigError, match="more than 50 values"):
        parse_json(json.dumps(list(range(60))))
    with pytest.raises(ConfigError, match="nested more than 5 deep"):
        parse_json("[" * 7 + "]" * 7)


def test_a_size_limit_is_seen_before_the_content(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", {"yaml": 2**20, "json": 2**20, "text": 2**20})
    (tmp_path / "x").write_bytes(b"[" * (2**20 + 1))
    for read in (read_yaml, read_json, read_table):
        with pytest.raises(ConfigError, match="larger than the limit of 1 MiB"):
            read(tmp_path / "x", "it")


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    for path, match in (
        (tmp_path / "pipe", "pipe or device"), ("/dev/zero", "pipe or device"), (tmp_path, "it is a folder"),
        ("", "No such file"), ("a\0b", "null byte"), ("y" * 300, "too long"), ("\ud800", "not valid text|No such file"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=match) as error:
            read_yaml(path, "it")
        assert str(error.value).isprintable()
    assert time.monotonic() - started < 5


def test_tables(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf Name , Text\r\na,"b, ""c""\r\nd"\r\nshort\r\n')
    assert read_table(path, "it") == [{"Name": "a", "Text": 'b, "c"\r\nd'}, {"Name": "short", "Text": ""}]
    path.write_text("a,b\n1,2,3\n")
    with pytest.raises(ConfigError, match="line 2 has 3 values for 2 headings"):
        read_table(path, "it")
    path.write_text("a\n" + "x" * 200_000)
    with pytest.raises(ConfigError, match="line 2: field larger"):
        read_table(path, "it")


def test_records_may_hold_what_was_not_finite(tmp_path):
    (tmp_path / "x").write_text('{"a": NaN, "b": [Infinity]}')
    with pytest.raises(ConfigError, match="a is nan"):
        read_json(tmp_path / "x", "it")
    found = read_json(tmp_path / "x", "it", finite=False)
    assert math.isnan(found["a"])
    assert found["b"] == [math.inf]


def test_who_made_a_file_is_no_setting(tmp_path):
    (tmp_path / "x").write_text('{"generator": "made by faircut 9", "a": 1}')
    assert read_json(tmp_path / "x", "it") == {"a": 1}


def test_nothing_that_is_set_aside_is_lost(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "x.json").write_text(content)
        (tmp_path / "more").mkdir()
        with pytest.warns(DamagedFileWarning, match=r"x\.json is damaged and is made again; .*\(why not\)") as warned:
            set_aside(tmp_path / "x.json", "why\n not", tmp_path / "more", tmp_path / "gone")
        assert len(warned) == 1
    kept = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert kept == {"x.json.damaged": "one", "x.json.damaged-2": "two", "x.json.damaged-3": "three"}
    set_aside(tmp_path / "x.json", "another process was quicker")


@pytest.mark.parametrize(
    "value", [10**5000, "x" * 10**6, [[[[[[[[[1]]]]]]]]], {i: i for i in range(1000)}, b"\0" * 1000], ids=range(5)
)
def test_values_are_shown_in_one_line(value):
    assert len(short_repr(value)) < 300
    assert short_repr("a") == "'a'"
