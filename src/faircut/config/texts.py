"""Checks of text that comes from outside, and helpers that make text safe to show."""

from __future__ import annotations

import re

from faircut.errors import ConfigError, FaircutError, PromptError

__all__ = ["MAX_PROMPT_LENGTH", "check_prompt", "check_text", "escape_control", "shorten"]

MAX_PROMPT_LENGTH = 2000
"""Maximum number of characters in a prompt, where a run of spaces counts as one.

This is many times what a text encoder reads, and any tokenizer processes it at once.
"""

# Control characters, byte-order marks, line separators, and marks that change the direction of the text.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def escape_control(text: str, keep: str = "") -> str:
    r"""Escape characters that could control a terminal or are not valid text, such as ``\x1b``.

    Args:
        text: Any text.
        keep: Characters that stay as they are.
    """
    return _HIDDEN.sub(lambda m: m.group() if m.group() in keep else m.group().encode("unicode_escape").decode(), text)


def shorten(text: str, limit: int = 80) -> str:
    """Cut a text after a number of characters, and append its length if anything was cut."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def check_text(text: str, what: str, error: type[FaircutError] = ConfigError) -> None:
    """Check that files, libraries and the operating system can handle a text.

    Args:
        text: Text to check.
        what: Name of the text for the error message.
        error: Exception class to raise.

    Raises:
        FaircutError: If the text contains a zero byte, or bytes that are not UTF-8.
    """
    match = _NO_TEXT.search(text)
    if match is not None:
        quoted = repr(shorten(text))
        if match.group() == "\x00":
            raise error(f"{what} is {quoted}, but neither names nor texts can contain a zero byte; remove it")
        raise error(f"{what} is {quoted}, which is not valid text; write it in UTF-8")


def check_prompt(text: str, what: str = "the prompt", required: bool = False) -> None:
    """Check that a text can be used as a prompt, before a tokenizer sees it.

    Args:
        text: Text to check.
        what: Name of the text for the error message.
        required: Whether to reject an empty text.

    Raises:
        PromptError: If the text is too long, contains control characters, or is empty although one is required.
    """
    if not isinstance(text, str):
        raise PromptError(f"{what} is {shorten(repr(text))}; give a text, in quotes if it looks like a number")
    check_text(text, what, PromptError)
    match = _CONTROL.search(text)
    if match is not None:
        raise PromptError(
            f"{what} contains the control character {match.group().encode('unicode_escape').decode()} at position "
            f"{match.start() + 1}; remove it"
        )
    if required and not text.strip():
        raise PromptError(f"{what} is empty; describe the clip, such as 'a red car on a road'")
    length = len(" ".join(text.split()))
    if length > MAX_PROMPT_LENGTH:
        raise PromptError(
            f"{what} has {length:,} characters, starting with {shorten(text, 40)!r}; give at most "
            f"{MAX_PROMPT_LENGTH:,}: a model reads about 75 words"
        )
