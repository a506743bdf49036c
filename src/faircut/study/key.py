"""What the page does not say: which method made which clip."""

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
    """A clip that was edited.

    Attributes:
        prompt: what was asked for, as the page shows it.
        source: the file.
        hash: of its bytes.
    """

    prompt: str
    source: str
    hash: str


@dataclass(frozen=True)
class KeyClip:
    """A result on the page.

    Attributes:
        item: number of the clip that was edited.
        method: which made it.
        path: the file.
        hash: of its bytes.
    """

    item: int
    method: str
    path: str
    hash: str


@dataclass(frozen=True)
class StudyKey:
    """The key of a study.

    Attributes:
        title: of the page.
        seed: of the clips' names, of sides and of order.
        questions: by name, as they are asked.
        items: the clips that were edited.
        clips: the results, by the names that the page and its answers know them by.
        study: names the study by all of this.
        versions: of faircut and the libraries that it was made with.
        format: version of this layout.
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
            raise ConfigError("it has no clips or no questions; give the key as it was written")
        for name, clip in self.clips.items():
            if not 0 <= clip.item < len(self.items):
                raise ConfigError(f"clips.{name}.item is {clip.item}, and there are {len(self.items)} items")


def study_name(
    title: str, seed: int, questions: Mapping[str, str], items: tuple[KeyItem, ...], clips: Mapping[str, KeyClip]
) -> str:
    """Name a study by its content: 16 hexadecimal digits."""
    content = json.dumps(to_dict([title, seed, questions, items, clips]), sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def load_key(path: str | Path) -> StudyKey:
    """Read a study's key.

    Args:
        path: of the JSON file that `make_study` wrote.

    Raises:
        ConfigError: it cannot be read, is of another version, or was changed.
    """
    key = from_dict(StudyKey, read_format(path, "the key of a study"), str(path))
    if key.study != study_name(key.title, key.seed, key.questions, key.items, key.clips):
        raise ConfigError(f"{path} was changed after the study was made; give the key as it was written")
    return key


def read_format(path: str | Path, what: str) -> Any:
    """Read a JSON object of our format.

    Raises:
        ConfigError: it cannot be read, is no object, or is of another version.
    """
    data = read_json(path, what)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        version = data.get("format") if isinstance(data, dict) else None
        raise ConfigError(
            f"{path} is not {what} of format {FORMAT} (it has {short_repr(version)}); give the file as it was written"
        )
    return {name: value for name, value in data.items() if name != "generator"}
