"""Folders in the layouts of other benchmarks, read as lists of edits: TGVE, V2VBench, and plain clips with their
prompts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut.benchmark.edits.items import EditBenchmark, EditItem
from faircut.config.reading import read_table, read_text, read_yaml, short_repr
from faircut.config.values import convert
from faircut.errors import ConfigError

__all__ = ["read_layout"]

_CLIPS = (".mp4", ".webm", ".gif", ".webp", ".mov", ".avi", ".mkv")
_TGVE = {
    "Style Change Caption": "style",
    "Object Change Caption": "object",
    "Background Change Caption": "background",
    "Multiple Changes Caption": "multiple",
}


def read_layout(folder: Path) -> EditBenchmark:
    """Read a folder of clips and prompts.

    Known are: TGVE (a CSV with the columns "Video name", "Our GT caption" and one for each kind of change, clips in
    ``*_480p/480p_videos`` or ``480p_frames``); V2VBench (a YAML file with a list ``data`` of ``video_id``, ``prompt``
    and ``edit``, clips beside it or in a folder ``videos``); and plain clips, each with a text file of its name, which
    has the source prompt in its first line and a prompt of an edit in every other.

    Args:
        folder: the folder.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        # Not glob, for which brackets and stars in the folder's own name are patterns.
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ConfigError(f"cannot read the folder {folder}: {error.strerror or error}") from None
    for name in names:
        if name.endswith(".csv"):
            rows = read_table(folder / name, "the table")
            if rows and "Video name" in rows[0]:
                return _tgve(folder, folder / name, rows)
    for name in names:
        if name.endswith((".yaml", ".yml")):
            data = read_yaml(folder / name, "the list")
            if isinstance(data, Mapping) and isinstance(data.get("data"), list):
                return _v2vbench(folder, folder / name, data["data"])
    return _plain(folder, names)


def _benchmark(folder: Path, index: bytes, items: list[EditItem], where: Path) -> EditBenchmark:
    if not items:
        raise ConfigError(f"{where} names no edits; give at least one clip with a prompt")
    digest = hashlib.blake2b(index, digest_size=16).hexdigest()
    try:
        return EditBenchmark(1, folder.resolve().name, tuple(items), folder=str(folder), hash=digest)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _tgve(folder: Path, table: Path, rows: list[dict[str, str]]) -> EditBenchmark:
    items = []
    for row in rows:
        name, caption = row.get("Video name", ""), row.get("Our GT caption", "")
        # Between its parts the table has lines with a heading alone.
        if not name or not caption:
            continue
        clip = _found(folder, name, ("*_480p/480p_videos", "*_480p/480p_frames", "."))
        items += [
            EditItem(f"{name}.{kind}", kind, caption, row[column], clip=clip)
            for column, kind in _TGVE.items()
            if row.get(column)
        ]
    return _benchmark(folder, table.read_bytes(), items, table)


def _v2vbench(folder: Path, path: Path, data: list[Any]) -> EditBenchmark:
    """Read what is known of V2VBench's entries; they may hold more."""
    items = []
    for place, entry in enumerate(data):
        where = f"{path}: data[{place}]"
        name = str(_entry(entry, "video_id", where, str | int))
        source = entry.get("prompt", entry.get("source_prompt"))
        if not source:
            raise ConfigError(f"{where}: {name} has no prompt, which says what is in the clip; add it")
        source = convert(str, source, f"{where}.prompt")
        clip = _found(folder, name, ("videos", "."))
        for number, edit in enumerate(_entry(entry, "edit", where, list)):
            prompt = _entry(edit, "prompt", f"{where}.edit[{number}]", str)
            kind = convert(str, edit.get("type", edit.get("task", "edit")), f"{where}.edit[{number}].type")
            items.append(EditItem(f"{name}.{number}", kind, source, prompt, clip=clip))
    return _benchmark(folder, path.read_bytes(), items, path)


def _entry(entry: Any, name: str, where: str, hint: Any) -> Any:
    """Return a value that an entry must have.

    Raises:
        ConfigError: it is no mapping, or has no such value.
    """
    if not isinstance(entry, Mapping) or name not in entry:
        shown = "" if isinstance(entry, Mapping) else f" (it is {short_repr(entry)})"
        raise ConfigError(f"{where} has no {name}{shown}; give video_id, prompt and edit, each edit with a prompt")
    return convert(hint, entry[name], f"{where}.{name}")


def _plain(folder: Path, names: list[str]) -> EditBenchmark:
    items, index = [], b""
    for path in (folder / name for name in names):
        words = path.with_suffix(".txt")
        if not (path.is_dir() or path.suffix.lower() in _CLIPS) or not words.exists():
            continue
        lines = [line.strip() for line in read_text(words, "the prompts").splitlines() if line.strip()]
        if len(lines) < 2:
            raise ConfigError(f"{words} has no prompt: its first line is the source prompt, every other an edit's")
        index += words.read_bytes()
        items += [
            EditItem(f"{path.stem}.{number}", "edit", lines[0], line, clip=path.name)
            for number, line in enumerate(lines[1:])
        ]
    if not items:
        raise ConfigError(
            f"{folder} holds no benchmark: neither TGVE's table, nor V2VBench's list, nor clips with a text file each, "
            "such as jeep.mp4 and jeep.txt (first line the source prompt, every other the prompt of an edit)"
        )
    return _benchmark(folder, index, items, folder)


def _found(folder: Path, name: str, places: tuple[str, ...]) -> str:
    """Return where a clip is, relative to the folder; its plain name where it is not, to be reported as missing."""
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.strip():
        return name  # Others wrote the list: it names nothing outside of the folder, and this is said later.
    for place in places:
        for parent in [folder] if place == "." else sorted(folder.glob(place)):
            for path in (parent / name, *(parent / f"{name}{suffix}" for suffix in _CLIPS)):
                if os.path.exists(path):  # Says no of a name that is too long.
                    return str(path.relative_to(folder))
    return name
