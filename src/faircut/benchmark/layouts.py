"""Folders in the layouts of other benchmarks, read as lists of edits: TGVE, V2VBench, and plain clips with their prompts."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut.benchmark.edits import EditBenchmark, EditItem
from faircut.config import read_yaml
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
    ``*_480p/480p_videos`` or ``480p_frames``); V2VBench (a YAML file with a list ``data`` of ``video_id``, ``prompt`` and
    ``edit``, clips beside it or in a folder ``videos``); and plain clips, each with a text file of its name, which has the
    source prompt in its first line and a prompt of an edit in every other.

    Args:
        folder: the folder.

    Raises:
        ConfigError: it is none of these.
    """
    tables = [path for path in sorted(folder.glob("*.csv")) if "Video name" in path.open(encoding="utf-8").readline()]
    if tables:
        return _tgve(folder, tables[0])
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        data = read_yaml(path, "the list")
        if isinstance(data, Mapping) and isinstance(data.get("data"), list):
            return _v2vbench(folder, path, data["data"])
    return _plain(folder)


def _benchmark(folder: Path, index: bytes, items: list[EditItem]) -> EditBenchmark:
    digest = hashlib.blake2b(index, digest_size=16).hexdigest()
    return EditBenchmark(1, folder.resolve().name, tuple(items), folder=str(folder), hash=digest)


def _tgve(folder: Path, table: Path) -> EditBenchmark:
    with table.open(encoding="utf-8", newline="") as file:
        rows = [
            {key.strip(): (value or "").strip() for key, value in row.items() if key} for row in csv.DictReader(file)
        ]
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
    return _benchmark(folder, table.read_bytes(), items)


def _v2vbench(folder: Path, path: Path, data: list[Any]) -> EditBenchmark:
    items = []
    for entry in data:
        try:
            name, edits = str(entry["video_id"]), list(entry["edit"])
            prompts = [str(edit["prompt"]) for edit in edits]
        except (TypeError, KeyError) as error:
            raise ConfigError(f"{path}: an entry of data has no {error}; give video_id, prompt and edit") from None
        source = entry.get("prompt", entry.get("source_prompt"))
        if not source:
            raise ConfigError(f"{path}: {name} has no prompt, which says what is in the clip; add it")
        clip = _found(folder, name, ("videos", "."))
        for number, (edit, prompt) in enumerate(zip(edits, prompts, strict=True)):
            kind = str(edit.get("type", edit.get("task", "edit")))
            items.append(EditItem(f"{name}.{number}", kind, str(source), prompt, clip=clip))
    return _benchmark(folder, path.read_bytes(), items)


def _plain(folder: Path) -> EditBenchmark:
    items, index = [], b""
    for path in sorted(folder.iterdir()):
        words = path.with_suffix(".txt")
        if not (path.is_dir() or path.suffix.lower() in _CLIPS) or not words.is_file():
            continue
        lines = [line.strip() for line in words.read_text(encoding="utf-8").splitlines() if line.strip()]
        if len(lines) < 2:
            raise ConfigError(f"{words} has no prompt: its first line is the source prompt, every other an edit's")
        index += words.read_bytes()
        items += [
            EditItem(f"{path.stem}.{number}", "edit", lines[0], line, clip=path.name)
            for number, line in enumerate(lines[1:])
        ]
    if not items:
        raise ConfigError(
            f"{folder} holds no benchmark: neither TGVE's table, nor V2VBench's list, nor clips with a text file each, such "
            "as jeep.mp4 and jeep.txt (first line the source prompt, every other the prompt of an edit)"
        )
    return _benchmark(folder, index, items)


def _found(folder: Path, name: str, places: tuple[str, ...]) -> str:
    """Return where a clip is, relative to the folder; its plain name where it is not, to be reported as missing."""
    for place in places:
        for parent in [folder] if place == "." else sorted(folder.glob(place)):
            for path in (parent / name, *(parent / f"{name}{suffix}" for suffix in _CLIPS)):
                if path.exists():
                    return str(path.relative_to(folder))
    return name
