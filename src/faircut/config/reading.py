"""Read YAML, JSON, CSV and text files that others wrote, strictly and within limits. Nothing in a file can run code."""

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
"""Maximum file size by kind; PyYAML reads about half a megabyte per second."""
MAX_NODES = {"yaml": 100_000, "json": 1_000_000}
"""Maximum number of values in a file. An alias counts as all the values that it refers to."""
MAX_DEPTH = 64
"""Maximum nesting of lists and mappings."""
MAX_KEY_LENGTH = 1000
"""Maximum number of characters in a key of a mapping."""

_LARGEST_INT, _MAX_DIGITS = 2**64, 20
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")

# Unquoted YAML words that are not text, as in YAML 1.1. As in YAML 1.2, 1e-3 is a number. 1:30 (base 60 in YAML 1.1)
# and 010 (octal in 1.1, decimal in 1.2) are text, so that number settings reject them.
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
    """The problem with the content of a file. The message ends an error message."""


class _Shortener(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to print numbers of several thousand digits.
        return repr(x) if x.bit_length() < 256 else f"a number of {x.bit_length()} bits"


def short_repr(value: Any) -> str:
    """Return the ``repr`` of a value, shortened to fit in an error message."""
    return _Shortener().repr(value)


def read_yaml(path: str | Path, what: str) -> Any:
    """Read a YAML file that contains only lists, mappings, text, finite numbers, true, false and null.

    Args:
        path: Path of the file.
        what: Name of the file's content for error messages, such as ``"the tasks"``.

    Returns:
        The value in the file, or None if the file is empty.

    Raises:
        ConfigError: If the file cannot be read, is too large, nested too deeply, has too many values with its aliases
            expanded, has a duplicate key, or contains anything else.
    """
    text = read_text(path, what, "yaml")
    try:
        return _Yaml(text).value()
    except _Unreadable as error:
        raise ConfigError(f"cannot read {what} {_name(path)}: {error}") from None


def parse_yaml(text: str) -> Any:
    """Read a YAML text with the rules of `read_yaml`.

    Raises:
        ConfigError: If the text cannot be read. The message is only the reason.
    """
    try:
        _check_text(text)
        return _Yaml(text).value()
    except _Unreadable as error:
        raise ConfigError(str(error)) from None


def dump_yaml(data: Any, **layout: Any) -> str:
    """Return plain data as YAML text that `read_yaml` reads back unchanged.

    Args:
        data: Dicts, lists, texts and numbers.
        layout: Keyword arguments for ``yaml.dump``.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes texts that would be read as numbers."""

    Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"(?:{_DECIMAL.pattern})$"), list("-+.0123456789")
    )
    Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"(?:{_BASED.pattern})$"), list("-+0"))
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, **layout)
    return text


def read_json(path: str | Path, what: str, *, finite: bool = True) -> Any:
    """Read a JSON file, without the entry ``generator`` with which faircut marks its own files.

    Args:
        path: Path of the file.
        what: Name of the file's content for error messages.
        finite: Whether to reject NaN and Infinity.

    Raises:
        ConfigError: If the file cannot be read, is too large or nested too deeply, has a duplicate key, or contains
            numbers beyond 64 bits or control characters.
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
    """Read a JSON text with the rules of `read_json`.

    Raises:
        ConfigError: If the text cannot be read. The message is only the reason.
    """
    try:
        _check_text(text)
        return _json(text, True)
    except _Unreadable as error:
        raise ConfigError(str(error)) from None


def read_table(path: str | Path, what: str) -> list[dict[str, str]]:
    """Read a CSV file whose first line contains the headings.

    Args:
        path: Path of the file.
        what: Name of the file's content for error messages.

    Returns:
        The rows as mappings from heading to value, without surrounding spaces. Missing values at the end of a row
        are empty texts.

    Raises:
        ConfigError: If the file cannot be read, or a row has more values than there are headings.
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
    """Read a text file in UTF-8, with or without a byte-order mark.

    Args:
        path: Path of the file.
        what: Name of the file's content for error messages.
        kind: Which size limit applies, a key of `MAX_BYTES`.

    Raises:
        ConfigError: If the path is not a regular file, or the file cannot be read, is too large or is not text.
    """
    limit = MAX_BYTES[kind]
    try:
        # Opening a pipe would block, and a device may never end.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise _Unreadable(f"it is a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'}; give a file")
        with open(path, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise _Unreadable(f"it is larger than the limit of {limit // 2**20} MiB")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _Unreadable("it is in UTF-16; save it in UTF-8")
        text = data.decode("utf-8-sig")
        _check_text(text)
        return text
    except UnicodeEncodeError:
        reason = "its name is not valid text"
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start} is invalid); save it in UTF-8"
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, _Unreadable) as error:  # A name with a NUL is a ValueError.
        reason = str(error)
    raise ConfigError(f"cannot read {what} {_name(path)}: {reason}")


def set_aside(path: Path, why: object, *more: Path) -> None:
    """Rename a damaged file written by faircut, with a warning, so that a new one can be written and nothing is lost.

    Args:
        path: Path of the file, or of a folder where a file should be.
        why: Problem with the file.
        more: Files and folders that are useless without this file. Those that exist are renamed too.

    Raises:
        ConfigError: If a file cannot be renamed.
    """
    new_names = []
    for source in (path, *(extra for extra in more if os.path.lexists(extra))):
        suffixes = itertools.chain([".damaged"], (f".damaged-{number}" for number in itertools.count(2)))
        aside = next(name for end in suffixes if not os.path.lexists(name := source.with_name(source.name + end)))
        try:
            source.rename(aside)
            new_names.append(aside.name)
        except FileNotFoundError:
            return  # Another process has renamed it already.
        except OSError as error:
            raise ConfigError(
                f"{source} is damaged and cannot be renamed: {error.strerror or error}; remove it"
            ) from None
    # The reason contains the path again; cut it so that the message fits on a line.
    reason = " ".join(str(why).split())[:300]
    warnings.warn(
        f"{path} is damaged and is made again; it is kept as {', '.join(new_names)} ({reason})",
        DamagedFileWarning,
        stacklevel=2,
    )


def _name(path: str | Path) -> str:
    """Return a path for an error message, quoted if it has control characters and cut if it is very long."""
    text = str(path)
    return text if text.isprintable() and 0 < len(text) <= 300 else short_repr(text)


def _check_text(text: str) -> None:
    match = _CONTROL.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        raise _Unreadable(f"line {line} contains the character {_code_point(match[0])}, which text must not contain")


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _at(path: str, key: object) -> str:
    """Return the name of a value inside another one, such as ``tasks[2].prompt``."""
    if len(path) > 200:
        return path if path.endswith("...") else f"{path}..."
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = str(key) if str(key).isprintable() and len(str(key)) <= 100 else short_repr(str(key))
    return f"{path}.{key}" if path else str(key)


class _Yaml:
    """Builds the value of a YAML document from PyYAML's parser events, before PyYAML would create objects.

    Attributes:
        text: The document.
        anchors: By anchor: its value, the number of nodes in it and its depth. None while the value is being read.
        nodes: Number of values so far, with aliases expanded.
        deepest: Deepest nesting inside the current value.
    """

    def __init__(self, text: str) -> None:
        import yaml

        self.yaml = yaml
        self.text = text
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}
        self.nodes = self.deepest = 0

    def value(self) -> Any:
        """Return the value of the document, or None if the text is empty."""
        yaml = self.yaml
        try:
            events = iter(yaml.parse(self.text, Loader=yaml.SafeLoader))
            next(events)
            if isinstance(next(events), yaml.StreamEndEvent):
                return None
            value = self._node(next(events), events, "", 0)
            next(events)
            if not isinstance(next(events), yaml.StreamEndEvent):
                raise _Unreadable("it contains several documents; give one")
            return value
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            raise _Unreadable(f"{position}{' '.join(str(error.problem or error.context).split())}") from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML does not catch all of its own errors, such as a version of thousands of digits or \UFFFFFFFF.
            raise _Unreadable(f"it is not valid YAML: {' '.join(str(error).split())[:200]}") from None

    def _node(self, event: Any, events: Iterator[Any], path: str, depth: int) -> Any:
        yaml = self.yaml
        where = f"line {event.start_mark.line + 1}{path and ', '}{path}"
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise _Unreadable(f"{where}: *{_name(event.anchor)} is not defined; no value above has this &name")
            anchored = self.anchors[event.anchor]
            if anchored is None:
                raise _Unreadable(f"{where}: *{_name(event.anchor)} contains itself")
            value, size, height = anchored
            self._count(size, depth + height, where)
            return value
        nodes_before, deepest_before, self.deepest = self.nodes, self.deepest, depth
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
            self.anchors[event.anchor] = value, self.nodes - nodes_before, self.deepest - depth
        self.deepest = max(deepest_before, self.deepest)
        return value

    def _mapping(self, events: Iterator[Any], path: str, depth: int) -> dict[str, Any]:
        """Read a mapping. Keys stay text as written, even ``2`` and ``yes``."""
        yaml = self.yaml
        explicit: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            where = f"line {event.start_mark.line + 1}{path and ', '}{path}"
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in (None, "!", "tag:yaml.org,2002:str"):
                raise _Unreadable(f"{where} has a key that is not a plain name; use names as keys")
            key = event.value
            if len(key) > MAX_KEY_LENGTH or _CONTROL.search(key):
                raise _Unreadable(f"{where} has the key {short_repr(key)}, which is not a valid name")
            if event.anchor is not None:
                self.anchors[event.anchor] = key, 1, 0
            if key == "<<" and event.implicit[0]:
                inner = self._node(next(events), events, _at(path, key), depth + 1)
                for source in reversed(inner if isinstance(inner, list) else [inner]):
                    if not isinstance(source, dict):
                        raise _Unreadable(
                            f"{where}: << merges {short_repr(source)}; give a mapping, or a list of mappings"
                        )
                    self._count(len(source), depth, where)
                    merged |= source
                continue
            if key in explicit:
                raise _Unreadable(f"{where}: the key {short_repr(key)} appears twice")
            explicit[key] = self._node(next(events), events, _at(path, key), depth + 1)
        return merged | explicit if merged else explicit

    def _scalar(self, event: Any, where: str) -> Any:
        text: str = event.value
        match = _CONTROL.search(text)  # A control character written as an escape, such as "\x1b".
        if match:
            raise _Unreadable(f"{where} contains the character {_code_point(match[0])}, which text must not contain")
        if not event.implicit[0] or event.tag == "!":
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _WHOLE.fullmatch(text) or _BASED.fullmatch(text):
            # Python limits the length of decimal numbers only, not of those in bases that are powers of two.
            if len(text.replace("_", "").lstrip("+-")) > (_MAX_DIGITS if _WHOLE.fullmatch(text) else 2 + 64):
                raise _Unreadable(f"{where} is a number of {len(text)} digits; quote it if it is text")
            return _in_range(int(text.replace("_", ""), 0), where)
        if _ENDLESS.fullmatch(text) or (_DECIMAL.fullmatch(text) and not math.isfinite(float(text))):
            raise _Unreadable(f"{where} is {short_repr(text)}; give a finite number, or quote it if it is text")
        return float(text) if _DECIMAL.fullmatch(text) and not _leads_with_zero(text) else text

    def _count(self, nodes: int, depth: int, where: str) -> None:
        self.nodes, self.deepest = self.nodes + nodes, max(self.deepest, depth)
        if self.nodes > MAX_NODES["yaml"]:
            raise _Unreadable(f"{where}: it has more than {MAX_NODES['yaml']} values with its aliases expanded")
        if depth > MAX_DEPTH:
            raise _Unreadable(f"{where}: lists and mappings are nested more than {MAX_DEPTH} deep")


def _leads_with_zero(text: str) -> bool:
    """Return whether a text is digits with a leading 0, such as the name of a clip."""
    digits = text.lstrip("+-")
    return digits.isdigit() and len(digits) > 1


def _in_range(value: int, where: str) -> int:
    if not -_LARGEST_INT // 2 <= value < _LARGEST_INT:
        raise _Unreadable(f"{where} is {short_repr(value)}; numbers have at most 64 bits")
    return value


def _json(text: str, finite: bool) -> Any:
    if sum(map(text.count, ",[{")) >= 2 * MAX_NODES["json"]:
        raise _Unreadable(f"it has more than {MAX_NODES['json']} values")

    def parse_int(digits: str) -> int:
        if len(digits.lstrip("-")) > _MAX_DIGITS:
            raise _Unreadable(f"it contains a number of {len(digits)} digits; numbers have at most 64 bits")
        return int(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise _Unreadable(f"the key {short_repr(twice)} appears twice")
        return mapping

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_int=parse_int)
    except RecursionError:
        raise _Unreadable(f"lists and mappings are nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise _Unreadable(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    _check(data, "", 0, [0], finite)
    return data


def _check(value: Any, path: str, depth: int, count: list[int], finite: bool) -> None:
    """Check values that the JSON parser accepts: numbers, control characters, depth and size."""
    count[0] += 1
    where = path or "it"
    if count[0] > MAX_NODES["json"]:
        raise _Unreadable(f"it has more than {MAX_NODES['json']} values")
    if depth > MAX_DEPTH:
        raise _Unreadable(f"lists and mappings are nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        match = _CONTROL.search(value)
        if match:
            raise _Unreadable(f"{where} contains the character {_code_point(match[0])}, which text must not contain")
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise _Unreadable(f"{where} is {value}; give a finite number")
    elif isinstance(value, int):
        _in_range(value, where)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if len(key) > MAX_KEY_LENGTH or _CONTROL.search(key):
                raise _Unreadable(f"{where} has the key {short_repr(key)}, which is not a valid name")
            _check(inner, _at(path, key), depth + 1, count, finite)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check(inner, _at(path, number), depth + 1, count, finite)
