"""The key of a study, which says which method made which clip; the page does not say it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faircut.config.reading import read_json, short_repr
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError

__all__ = ["KeyClip", "KeyItem", "StudyKey", "load_key", "read_format"]

FORMAT = 1


@dataclass(frozen=True)
class KeyItem:
    """A source clip of the study.

    Attributes:
        prompt: Target prompt, as the page shows it.
        source: File of the source clip.
        hash: Hash of the file's bytes.
    """

    prompt: str
    source: str
    hash: str


@dataclass(frozen=True)
class KeyClip:
    """An edited clip on the page.

    Attributes:
        item: Index of the source clip.
        method: Name of the method that made the clip.
        path: File of the clip.
        hash: Hash of the file's bytes.
    """

    item: int
    method: str
    path: str
    hash: str


@dataclass(frozen=True)
class StudyKey:
    """The key of a study.

    Attributes:
        title: Title of the page.
        seed: Seed of the clips' names, their sides and their order.
        questions: Text of the questions, by name.
        items: Source clips.
        clips: Edited clips, by their names on the page and in the answers.
        study: Hash of everything above, which names the study.
        versions: Versions of faircut and of the libraries that made the page.
        format: Version of the file's layout.
    """

    title: str
    seed: int
    questions: Mapping[str, str]
    items: tuple[KeyItem, ...]
    clips: Mapping[str, KeyClip]
    study: str
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not self.clips or not self.questions:
            raise ConfigError("the key has no clips or no questions; give the key as it was written")
        for name, clip in self.clips.items():
            if not 0 <= clip.item < len(self.items):
                raise ConfigError(f"clips.{name}.item is {clip.item}, but there are only {len(self.items)} items")


def study_name(
    title: str, seed: int, questions: Mapping[str, str], items: tuple[KeyItem, ...], clips: Mapping[str, KeyClip]
) -> str:
    """Return the name of a study, a hash of its content: 16 hexadecimal digits."""
    content = json.dumps(to_dict([title, seed, questions, items, clips]), sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def load_key(path: str | Path) -> StudyKey:
    """Read the key of a study.

    Args:
        path: Path of the JSON file that `make_study` wrote.

    Returns:
        The key.

    Raises:
        ConfigError: If the file cannot be read, has another format, or was changed.
    """
    key = from_dict(StudyKey, read_format(path, "the key of a study"), str(path))
    if key.study != study_name(key.title, key.seed, key.questions, key.items, key.clips):
        raise ConfigError(f"{path} was changed after the study was made; give the key as it was written")
    return key


def read_format(path: str | Path, what: str) -> Any:
    """Read a JSON object and check its format.

    Raises:
        ConfigError: If the file cannot be read, is not an object, or has another format.
    """
    data = read_json(path, what)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        version = data.get("format") if isinstance(data, dict) else None
        raise ConfigError(
            f"{path} is not {what} of format {FORMAT} (it has {short_repr(version)}); give the file as it was written"
        )
    return {name: value for name, value in data.items() if name != "generator"}
