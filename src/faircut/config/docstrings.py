"""What docstrings say: of a class, and of each field of a dataclass."""

from __future__ import annotations

import inspect
import re

__all__ = ["attributes", "body", "first_clause", "summary"]


def summary(cls: type) -> str:
    """Return the first paragraph of a class's own docstring, in one line."""
    return " ".join(_paragraphs(cls)[0].split()) if _paragraphs(cls) else ""


def body(cls: type) -> list[str]:
    """Return the paragraphs between the first one and the attributes, each in one line."""
    return [" ".join(paragraph.split()) for paragraph in _paragraphs(cls)[1:]]


def _paragraphs(cls: type) -> list[str]:
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    # Sections begin with a word and a colon alone on a line.
    text = re.split(r"(?m)^[A-Z][a-z]+:$", text)[0]
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def attributes(cls: type) -> dict[str, str]:
    """Return what the docstring of a dataclass says of its fields, in one line each; those that it inherits come
    first."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        lines = inspect.cleandoc(vars(base).get("__doc__") or "").splitlines()
        name = ""
        begins = [number for number, line in enumerate(lines) if line in ("Args:", "Attributes:")]
        for line in lines[begins[-1] + 1 :] if begins else []:
            start = re.match(r" {4}(\w+): (.*)", line)
            if start:
                name = start[1]
                said[name] = start[2]
            elif name and line.startswith(" " * 8):
                said[name] += f" {line.strip()}"
            else:
                break
    return said


def first_clause(text: str) -> str:
    """Return the first part of what is said of a field, up to a full stop or a semicolon, without code marks."""
    return re.split(r"[.;] |[.;]$", text.replace("`", ""))[0]
