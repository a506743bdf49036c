"""Read folders in the layouts of other benchmarks: TGVE, V2VBench, and plain clips with text files."""

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

    Three layouts can be read. TGVE: a CSV file with the columns "Video name", "Our GT caption" and one for each kind of
    change, and clips in ``*_480p/480p_videos`` or ``480p_frames``. V2VBench: a YAML file with a list ``data`` of
    ``video_id``, ``prompt`` and ``edit``, and clips in the same folder or in ``videos``. Plain clips: each with a text
    file of the same name, whose first line is the source prompt and every other line a target prompt.

    Args:
        folder: The folder.

    Raises:
        ConfigError: If the folder has none of these layouts.
    """
    try:
        # Not glob, because brackets and stars in the folder's name would be patterns.
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
        raise ConfigError(f"{where} contains no edits; give at least one clip with a prompt")
    digest = hashlib.blake2b(index, digest_size=16).hexdigest()
    try:
        return EditBenchmark(1, folder.resolve().name, tuple(items), folder=str(folder), hash=digest)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _tgve(folder: Path, table: Path, rows: list[dict[str, str]]) -> EditBenchmark:
    items = []
    for row in rows:
        name, caption = row.get("Video name", ""), row.get("Our GT caption", "")
        # The table has lines with only a heading between its parts.
        if not name or not caption:
            continue
        clip = _find_clip(folder, name, ("*_480p/480p_videos", "*_480p/480p_frames", "."))
        items += [
            EditItem(f"{name}.{kind}", kind, caption, row[column], clip=clip)
            for column, kind in _TGVE.items()
            if row.get(column)
        ]
    return _benchmark(folder, table.read_bytes(), items, table)


def _v2vbench(folder: Path, path: Path, data: list[Any]) -> EditBenchmark:
    """Read the known keys of V2VBench's entries, and ignore others."""
    items = []
    for position, entry in enumerate(data):
        where = f"{path}: data[{position}]"
        name = str(_entry(entry, "video_id", where, str | int))
        source = entry.get("prompt", entry.get("source_prompt"))
        if not source:
            raise ConfigError(f"{where}: {name} has no prompt that describes the clip; add it")
        source = convert(str, source, f"{where}.prompt")
        clip = _find_clip(folder, name, ("videos", "."))
        for number, edit in enumerate(_entry(entry, "edit", where, list)):
            prompt = _entry(edit, "prompt", f"{where}.edit[{number}]", str)
            kind = convert(str, edit.get("type", edit.get("task", "edit")), f"{where}.edit[{number}].type")
            items.append(EditItem(f"{name}.{number}", kind, source, prompt, clip=clip))
    return _benchmark(folder, path.read_bytes(), items, path)


def _entry(entry: Any, name: str, where: str, hint: Any) -> Any:
    """Return a required value of an entry.

    Raises:
        ConfigError: If the entry is not a mapping, or lacks the value.
    """
    if not isinstance(entry, Mapping) or name not in entry:
        shown = "" if isinstance(entry, Mapping) else f" (it is {short_repr(entry)})"
        raise ConfigError(f"{where} has no {name}{shown}; give video_id, prompt and edit, each edit with a prompt")
    return convert(hint, entry[name], f"{where}.{name}")


def _plain(folder: Path, names: list[str]) -> EditBenchmark:
    items, index = [], b""
    for path in (folder / name for name in names):
        text_file = path.with_suffix(".txt")
        if not (path.is_dir() or path.suffix.lower() in _CLIPS) or not text_file.exists():
            continue
        lines = [line.strip() for line in read_text(text_file, "the prompts").splitlines() if line.strip()]
        if len(lines) < 2:
            raise ConfigError(
                f"{text_file} has no target prompt; write the source prompt in the first line "
                "and a target prompt in every other"
            )
        index += text_file.read_bytes()
        items += [
            EditItem(f"{path.stem}.{number}", "edit", lines[0], line, clip=path.name)
            for number, line in enumerate(lines[1:])
        ]
    if not items:
        raise ConfigError(
            f"{folder} is not a benchmark; give a folder with TGVE's table, V2VBench's list, or clips with text files, "
            "such as jeep.mp4 and jeep.txt (first line the source prompt, every other line a target prompt)"
        )
    return _benchmark(folder, index, items, folder)


def _find_clip(folder: Path, name: str, folders: tuple[str, ...]) -> str:
    """Return the path of a clip relative to the folder, or its name if it is missing, to be reported later."""
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.strip():
        return name  # The list is foreign input, so no path outside the folder is looked up; it is reported later.
    for pattern in folders:
        for parent in [folder] if pattern == "." else sorted(folder.glob(pattern)):
            for path in (parent / name, *(parent / f"{name}{suffix}" for suffix in _CLIPS)):
                if os.path.exists(path):  # Returns False for a name that is too long.
                    return str(path.relative_to(folder))
    return name
