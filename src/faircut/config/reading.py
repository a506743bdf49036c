"""Files that others wrote, read strictly: YAML, JSON, tables and text, each within limits, and nothing in them can run."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
import reprlib
import stat
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faircut.errors import ConfigError, DamagedFileWarning

__all__ = [
    "dump_yaml",
    "parse_json",
    "parse_yaml",
    "read_json",
    "read_table",
    "read_text",
    "read_yaml",
    "set_aside",
    "short_repr",
]

MAX_BYTES = {"yaml": 2 * 2**20, "json": 16 * 2**20, "text": 4 * 2**20}
"""Size of the largest file of a kind; PyYAML reads about half a megabyte a second."""
MAX_NODES = {"yaml": 100_000, "json": 1_000_000}
"""How many values a file may hold, each alias counted with all that it stands for."""
MAX_DEPTH = 64
"""How deep lists and mappings may be nested."""
MAX_KEY_LENGTH = 1000

_LARGEST_INT, _MAX_DIGITS = 2**64, 20
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")

# Plain words of YAML that are no text. As in YAML 1.2, 1e-3 is a number, and 1:30 (a base-60 number in YAML 1.1) and 010
# (8 there, 10 here) are text, so that a place for a number refuses them; yes, no, on and off are what they are in YAML 1.1.
_WORDS = {
    word: value
    for value, words in {
        True: ("true", "yes", "on"),
        False: ("false", "no", "off"),
        None: ("null", "~"),
    }.items()
    for plain in words
    for word in (plain, plain.capitalize(), plain.upper())
} | {"": None}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_BASED = re.compile(r"[-+]?0(x[0-9a-fA-F]+|o[0-7]+|b[01]+)")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Unreadable(Exception):
    """What is wrong with the content of a file, for the end of a message."""


class _Shortener(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out numbers of several thousand digits.
        return repr(x) if x.bit_length() < 256 else f"a number of {x.bit_length()} bits"


def short_repr(value: Any) -> str:
    """Write a value for a message, as Python does, at most a line long."""
    return _Shortener().repr(value)


def read_yaml(path: str | Path, what: str) -> Any:
    """Read a YAML file: lists, mappings by name, text, finite numbers, true, false and null, and no other objects.

    Args:
        path: of the file.
        what: it is, for the message, such as ``"the tasks"``.

    Returns:
        What it holds; None if that is nothing.

    Raises:
        ConfigError: it cannot be read, is too large, too deep or too long once its aliases are written out, names a key
            twice, or holds anything else.
    """
    text = read_text(path, what, "yaml")
    try:
        return _Yaml(text).value()
    except _Unreadable as error:
        raise ConfigError(f"cannot read {what} {_name(path)}: {error}") from None


def parse_yaml(text: str) -> Any:
    """Read a YAML text as `read_yaml` reads a file.

    Raises:
        ConfigError: it cannot be read; the message ends with why.
    """
    try:
        _check_text(text)
        return _Yaml(text).value()
    except _Unreadable as error:
        raise ConfigError(str(error)) from None


def dump_yaml(data: Any, **layout: Any) -> str:
    """Write plain data as YAML that `read_yaml` reads as the same.

    Args:
        data: of dicts, lists, text and numbers.
        layout: of ``yaml.dump``.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what would be read as a number."""

    Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"(?:{_DECIMAL.pattern})$"), list("-+.0123456789")
    )
    Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"(?:{_BASED.pattern})$"), list("-+0"))
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, **layout)
    return text


def read_json(path: str | Path, what: str, *, finite: bool = True) -> Any:
    """Read a JSON file; what it says of who made it, under ``generator``, is left out.

    Args:
        path: of the file.
        what: it is, for the message.
        finite: whether NaN and Infinity are refused.

    Raises:
        ConfigError: it cannot be read, is too large or too deep, names a key twice, or holds numbers beyond 64 bits or
            control characters.
    """
    text = read_text(path, what, "json")
    try:
        data = _json(text, finite)
    except _Unreadable as error:
        raise ConfigError(f"cannot read {what} {_name(path)}: {error}") from None
    if isinstance(data, dict) and str(data.get("generator", "")).startswith("made by faircut"):
        del data["generator"]
    return data


def parse_json(text: str) -> Any:
    """Read a JSON text as `read_json` reads a file.

    Raises:
        ConfigError: it cannot be read; the message ends with why.
    """
    try:
        _check_text(text)
        return _json(text, True)
    except _Unreadable as error:
        raise ConfigError(str(error)) from None


def read_table(path: str | Path, what: str) -> list[dict[str, str]]:
    """Read a CSV file with a line of headings.

    Args:
        path: of the file.
        what: it is, for the message.

    Returns:
        Its rows by heading, without space around headings and values; a short row has empty values at its end.

    Raises:
        ConfigError: it cannot be read, or a row has more values than there are headings.
    """
    import csv

    lines = csv.reader(io.StringIO(read_text(path, what), newline=""))
    try:
        head = [name.strip() for name in next(lines, [])]
        rows = []
        for cells in lines:
            if len(cells) > len(head) and any(cell.strip() for cell in cells[len(head) :]):
                raise _Unreadable(f"line {lines.line_num} has {len(cells)} values for {len(head)} headings")
            cells += [""] * (len(head) - len(cells))
            rows.append({name: cell.strip() for name, cell in zip(head, cells, strict=False) if name})
        return rows
    except csv.Error as error:
        raise ConfigError(f"cannot read {what} {_name(path)}: line {lines.line_num}: {error}") from None
    except _Unreadable as error:
        raise ConfigError(f"cannot read {what} {_name(path)}: {error}") from None


def read_text(path: str | Path, what: str, kind: str = "text") -> str:
    """Read a file of text in UTF-8, with or without a byte-order mark.

    Args:
        path: of the file.
        what: it is, for the message.
        kind: of the limit, one of `MAX_BYTES`.

    Raises:
        ConfigError: it is no plain file, cannot be read, is too large, or is no text.
    """
    most = MAX_BYTES[kind]
    try:
        # Opening a pipe or a device would wait for it, or worse.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise _Unreadable(f"it is a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'}; give a file")
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise _Unreadable(f"it is larger than {most // 2**20} MiB, which no such file is")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _Unreadable("it is in UTF-16; save it in UTF-8")
        text = data.decode("utf-8-sig")
        _check_text(text)
        return text
    except UnicodeEncodeError:
        reason = "its name is no valid text"
    except UnicodeDecodeError as error:
        reason = f"it is no text in UTF-8 (at byte {error.start}); save it in UTF-8"
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, _Unreadable) as error:  # A name with a NUL is a ValueError.
        reason = str(error)
    raise ConfigError(f"cannot read {what} {_name(path)}: {reason}")


def set_aside(path: Path, why: object, *more: Path) -> None:
    """Rename a damaged file of ours, so that it can be made again and nothing is lost, and warn.

    Args:
        path: of the file, or of a folder where a file should be.
        why: what is wrong with it.
        more: files and folders that mean nothing without it, and are renamed, too, where they are there.
    """
    kept = []
    for each in (path, *(other for other in more if os.path.lexists(other))):
        ends = itertools.chain([".damaged"], (f".damaged-{number}" for number in itertools.count(2)))
        aside = next(place for end in ends if not os.path.lexists(place := each.with_name(each.name + end)))
        try:
            each.rename(aside)
            kept.append(aside.name)
        except FileNotFoundError:
            return  # Another process was quicker.
        except OSError as error:
            raise ConfigError(
                f"{each} is damaged and cannot be renamed to be made again: {error.strerror or error}; remove it"
            ) from None
    # The reason names the file again, and all of it must fit a line.
    reason = " ".join(str(why).split())[:300]
    warnings.warn(
        f"{path} is damaged and is made again; it is kept as {', '.join(kept)} ({reason})",
        DamagedFileWarning,
        stacklevel=2,
    )


def _name(path: str | Path) -> str:
    """Write a path for a message; one with control characters or that is very long as Python would."""
    text = str(path)
    return text if text.isprintable() and 0 < len(text) <= 300 else short_repr(text)


def _check_text(text: str) -> None:
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise _Unreadable(f"line {line} holds the character U+{ord(found[0]):04X}, which no text has")


def _at(path: str, key: object) -> str:
    """Name a value in another: ``tasks[2].prompt``."""
    if len(path) > 200:
        return path if path.endswith("...") else f"{path}..."
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = str(key) if str(key).isprintable() and len(str(key)) <= 100 else short_repr(str(key))
    return f"{path}.{key}" if path else str(key)


class _Yaml:
    """Builds the value of one YAML document out of PyYAML's events, which know no objects yet."""

    def __init__(self, text: str) -> None:
        import yaml

        self.yaml = yaml
        self.text = text
        # What an anchor stands for, how many values that is and how deep; None while it is being read.
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}
        self.nodes = self.deepest = 0

    def value(self) -> Any:
        """Return the document's value; None if there is none."""
        yaml = self.yaml
        try:
            events = iter(yaml.parse(self.text, Loader=yaml.SafeLoader))
            next(events)
            if isinstance(next(events), yaml.StreamEndEvent):
                return None
            found = self._node(next(events), events, "", 0)
            next(events)
            if not isinstance(next(events), yaml.StreamEndEvent):
                raise _Unreadable("it holds several documents; give one")
            return found
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            raise _Unreadable(f"{place}{' '.join(str(error.problem or error.context).split())}") from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # Some of what PyYAML's scanner chokes on (a version of thousands of digits, \UFFFFFFFF) ends as it comes.
            raise _Unreadable(f"it is no YAML: {' '.join(str(error).split())[:200]}") from None

    def _node(self, event: Any, events: Iterator[Any], path: str, depth: int) -> Any:
        yaml = self.yaml
        where = f"line {event.start_mark.line + 1}{path and ', '}{path}"
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise _Unreadable(f"{where}: *{_name(event.anchor)} stands for nothing; there is no such &name above")
            known = self.anchors[event.anchor]
            if known is None:
                raise _Unreadable(f"{where}: *{_name(event.anchor)} holds itself")
            value, size, height = known
            self._count(size, depth + height, where)
            return value
        before, outside, self.deepest = self.nodes, self.deepest, depth
        self._count(1, depth, where)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        plain = {"ScalarEvent": "str", "SequenceStartEvent": "seq", "MappingStartEvent": "map"}[type(event).__name__]
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{plain}"):
            tag = _name(str(event.tag).replace("tag:yaml.org,2002:", "!!"))
            raise _Unreadable(f"{where} has the tag {tag}; write it as a plain value, without a tag")
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, where)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                value.append(self._node(inner, events, _at(path, len(value)), depth + 1))
        else:
            value = self._mapping(events, path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = value, self.nodes - before, self.deepest - depth
        self.deepest = max(outside, self.deepest)
        return value

    def _mapping(self, events: Iterator[Any], path: str, depth: int) -> dict[str, Any]:
        """Read a mapping; its keys are names and so are taken as they are written, be it ``2`` or ``yes``."""
        yaml = self.yaml
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            where = f"line {event.start_mark.line + 1}{path and ', '}{path}"
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in (None, "!", "tag:yaml.org,2002:str"):
                raise _Unreadable(f"{where} has a key that is no plain name; give names as keys")
            key = event.value
            if len(key) > MAX_KEY_LENGTH or _CONTROL.search(key):
                raise _Unreadable(f"{where} has the key {short_repr(key)}, which is no name")
            if event.anchor is not None:
                self.anchors[event.anchor] = key, 1, 0
            if key == "<<" and event.implicit[0]:
                inner = self._node(next(events), events, _at(path, key), depth + 1)
                for each in reversed(inner if isinstance(inner, list) else [inner]):
                    if not isinstance(each, dict):
                        raise _Unreadable(
                            f"{where}: << merges {short_repr(each)}; give a mapping, or a list of mappings"
                        )
                    self._count(len(each), depth, where)
                    merged |= each
                continue
            if key in own:
                raise _Unreadable(f"{where}: the key {short_repr(key)} is there twice")
            own[key] = self._node(next(events), events, _at(path, key), depth + 1)
        return merged | own if merged else own

    def _scalar(self, event: Any, where: str) -> Any:
        text: str = event.value
        found = _CONTROL.search(text)  # Written as an escape, such as "\x1b".
        if found:
            raise _Unreadable(f"{where} holds the character U+{ord(found[0]):04X}, which no text has")
        if not event.implicit[0] or event.tag == "!":
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _WHOLE.fullmatch(text) or _BASED.fullmatch(text):
            # Only bases that are powers of two are read without looking at the length.
            if len(text.replace("_", "").lstrip("+-")) > (_MAX_DIGITS if _WHOLE.fullmatch(text) else 2 + 64):
                raise _Unreadable(f"{where} is a number of {len(text)} digits; quote it if it is text")
            return _in_range(int(text.replace("_", ""), 0), where)
        if _ENDLESS.fullmatch(text) or (_DECIMAL.fullmatch(text) and not math.isfinite(float(text))):
            raise _Unreadable(f"{where} is {short_repr(text)}; give a finite number, or quote it if it is text")
        return float(text) if _DECIMAL.fullmatch(text) and not _leads_with_zero(text) else text

    def _count(self, nodes: int, depth: int, where: str) -> None:
        self.nodes, self.deepest = self.nodes + nodes, max(self.deepest, depth)
        if self.nodes > MAX_NODES["yaml"]:
            raise _Unreadable(f"{where}: it holds more than {MAX_NODES['yaml']} values, its aliases written out")
        if depth > MAX_DEPTH:
            raise _Unreadable(f"{where}: lists and mappings are nested more than {MAX_DEPTH} deep")


def _leads_with_zero(text: str) -> bool:
    """Whether a number of digits alone begins with a 0, as names of clips do."""
    digits = text.lstrip("+-")
    return digits.isdigit() and len(digits) > 1


def _in_range(value: int, where: str) -> int:
    if not -_LARGEST_INT // 2 <= value < _LARGEST_INT:
        raise _Unreadable(f"{where} is {short_repr(value)}; numbers have at most 64 bits")
    return value


def _json(text: str, finite: bool) -> Any:
    if sum(map(text.count, ",[{")) >= 2 * MAX_NODES["json"]:
        raise _Unreadable(f"it holds more than {MAX_NODES['json']} values")

    def whole(digits: str) -> int:
        if len(digits.lstrip("-")) > _MAX_DIGITS:
            raise _Unreadable(f"it has a number of {len(digits)} digits; numbers have at most 64 bits")
        return int(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise _Unreadable(f"the key {short_repr(twice)} is there twice")
        return found

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_int=whole)
    except RecursionError:
        raise _Unreadable(f"lists and mappings are nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise _Unreadable(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    _check(data, "", 0, [0], finite)
    return data


def _check(value: Any, path: str, depth: int, count: list[int], finite: bool) -> None:
    """Check the values of a JSON text, for what its parser lets through."""
    count[0] += 1
    where = path or "it"
    if count[0] > MAX_NODES["json"]:
        raise _Unreadable(f"it holds more than {MAX_NODES['json']} values")
    if depth > MAX_DEPTH:
        raise _Unreadable(f"lists and mappings are nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        found = _CONTROL.search(value)
        if found:
            raise _Unreadable(f"{where} holds the character U+{ord(found[0]):04X}, which no text has")
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise _Unreadable(f"{where} is {value}; give a finite number")
    elif isinstance(value, int):
        _in_range(value, where)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if len(key) > MAX_KEY_LENGTH or _CONTROL.search(key):
                raise _Unreadable(f"{where} has the key {short_repr(key)}, which is no name")
            _check(inner, _at(path, key), depth + 1, count, finite)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check(inner, _at(path, number), depth + 1, count, finite)
