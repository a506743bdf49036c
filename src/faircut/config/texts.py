"""Texts from outside: what they may hold, and how they are shown."""

from __future__ import annotations

import re

from faircut.errors import ConfigError, FaircutError, PromptError

__all__ = ["MOST_CHARACTERS", "check_prompt", "check_text", "shorten", "visible"]

MOST_CHARACTERS = 2000
"""Of a prompt, spaces counted once: many times what a text encoder takes, and a moment's work for every tokenizer."""

# Control characters, and marks that turn the direction of what follows or break a line.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    r"""Write characters that would steer a terminal, or are no text, as Python writes them, such as ``\x1b``.

    Args:
        text: from anywhere.
        keep: characters that stay as they are.
    """
    return _HIDDEN.sub(lambda m: m.group() if m.group() in keep else m.group().encode("unicode_escape").decode(), text)


def shorten(text: str, most: int = 80) -> str:
    """Cut a text that is too long to be shown, and say how long it is."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def check_text(text: str, what: str, error: type[FaircutError] = ConfigError) -> None:
    """Check that a text is one that files, libraries and the system can take.

    Args:
        text: to check.
        what: it is, for the message.
        error: what to raise.

    Raises:
        FaircutError: it holds a NUL, or bytes that are no UTF-8.
    """
    found = _NO_TEXT.search(text)
    if found is not None:
        shown = repr(shorten(text))
        if found.group() == "\x00":
            raise error(f"{what} is {shown}, and neither names nor texts can hold a zero byte; write it without")
        raise error(f"{what} is {shown}, which is not valid text; write it in UTF-8")


def check_prompt(text: str, what: str = "the prompt", needed: bool = False) -> None:
    """Check that a text can be a prompt, before a tokenizer sees it.

    Args:
        text: to check.
        what: it is, for the message.
        needed: whether it must say something.

    Raises:
        PromptError: it is too long, holds control characters, or is empty and must not be.
    """
    if not isinstance(text, str):
        raise PromptError(f"{what} is {shorten(repr(text))}; give a text, in quotes where it looks like a number")
    check_text(text, what, PromptError)
    found = _CONTROL.search(text)
    if found is not None:
        raise PromptError(
            f"{what} holds the control character {found.group().encode('unicode_escape').decode()} at place "
            f"{found.start() + 1}; write it without"
        )
    if needed and not text.strip():
        raise PromptError(f"{what} is empty; say what shall be in the clip, such as 'a red car on a road'")
    length = len(" ".join(text.split()))
    if length > MOST_CHARACTERS:
        raise PromptError(
            f"{what} has {length:,} characters, starting with {shorten(text, 40)!r}; give {MOST_CHARACTERS:,} at the most: "
            "a model takes about 75 words"
        )
