"""Read benchmarks of edits from task files, and build the one that comes with faircut."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut.benchmark.edits.items import VERSION, Drawn, EditBenchmark, EditItem
from faircut.benchmark.edits.layouts import read_layout
from faircut.config.reading import dump_yaml, read_yaml
from faircut.config.values import check_clips, from_dict, to_dict
from faircut.errors import ConfigError, choices
from faircut.pocket.edit_cases import GUIDANCE, edit_cases

__all__ = ["SHIPPED", "load_edits", "pocket_edit", "to_yaml"]

SHIPPED = {"pocket-edit": Path(__file__).parents[1] / "data" / "pocket-edit.yaml"}
"""Task files that come with faircut, by name."""


def load_edits(path: str | Path) -> EditBenchmark:
    """Read a benchmark by name, from a task file, or from a folder in one of the known layouts.

    Args:
        path: Name of a benchmark that comes with faircut, YAML file, or folder.

    Raises:
        ConfigError: If the benchmark cannot be read, or has unknown keys.
        VideoError: If clips are missing.
    """
    if str(path) in SHIPPED:
        path = SHIPPED[str(path)]
    path, folder = Path(path), os.path.isdir(path)
    benchmark = read_layout(path) if folder else _read(path)
    named = (name for item in benchmark.items for name in (item.clip, item.mask) if name is not None)
    check_clips(path, Path(benchmark.folder), named, inside=folder)
    return benchmark


def _read(path: Path) -> EditBenchmark:
    if not os.path.lexists(path):
        raise ConfigError(f"no benchmark {str(path)!r}: {choices(str(path), SHIPPED)}; or a YAML file, or a folder")
    data = read_yaml(path, "the tasks")
    if isinstance(data, Mapping) and ("folder" in data or "hash" in data):
        raise ConfigError(f"{path} has the setting folder or hash, which a file must not set; leave it out")
    benchmark = from_dict(EditBenchmark, data, str(path))
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return dataclasses.replace(benchmark, folder=str(path.parent), hash=digest)


def pocket_edit() -> EditBenchmark:
    """Return the edits of `faircut.pocket.edit_cases.edit_cases` as a benchmark."""
    items = []
    for number, case in enumerate(edit_cases()):
        before, after = case.source.subjects[0], case.target.subjects[0]
        pairs = ((case.source, case.target), (before, after))
        change = {
            f.name: getattr(b, f.name)
            for a, b in pairs
            for f in dataclasses.fields(a)
            if f.name != "subjects" and getattr(a, f.name) != getattr(b, f.name)
        }
        style = tuple(str(case.target.style).split()) if case.kind == "style" else ()
        name, drawn = f"{case.kind}-{number:02d}", Drawn(case.source, change)
        prompts = case.source_prompt, case.prompt
        items.append(EditItem(name, case.kind, *prompts, drawn=drawn, blend=case.blend_words, style=style))
    return EditBenchmark(VERSION, "pocket-edit", tuple(items), size=128, guidance=GUIDANCE)


def to_yaml(benchmark: EditBenchmark) -> str:
    """Return a benchmark as the text of a task file, with one item per line."""

    def without_defaults(value: Any) -> Any:
        """Leave out empty values, which are the defaults."""
        return {k: v for k, v in value.items() if v not in (None, [], "")} if isinstance(value, dict) else value

    data = to_dict(benchmark)
    items = data.pop("items")
    head = dump_yaml(data)
    lines = [dump_yaml(without_defaults(item), default_flow_style=True, width=10**6).strip() for item in items]
    return head + "items:\n" + "".join(f"- {line}\n" for line in lines)
