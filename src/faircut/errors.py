"""Exceptions and warnings that faircut raises.

Every message is one line that says what was given, what is possible and what to do. The command line prints that line
and exits with status 2; a traceback means a bug in faircut.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AttentionError",
    "Cancelled",
    "ConfigError",
    "DamagedFileWarning",
    "FaircutError",
    "ModelError",
    "NumericalError",
    "OutOfMemoryError",
    "PromptError",
    "ReconstructionWarning",
    "VideoError",
    "choices",
    "ran_out_of_memory",
]


class FaircutError(Exception):
    """Base class of all exceptions that faircut raises on purpose."""


class ConfigError(FaircutError, ValueError):
    """A setting does not exist, is out of range, or contradicts another setting."""


class PromptError(FaircutError, ValueError):
    """A prompt, or a word in it, cannot be used as requested."""


class VideoError(FaircutError, ValueError):
    """A clip cannot be read, written or used."""


class ModelError(FaircutError, ValueError):
    """A checkpoint is missing, incomplete or not supported."""


class AttentionError(FaircutError, RuntimeError):
    """An attention layer did not run under the control of faircut where it had to."""


class NumericalError(FaircutError, ArithmeticError):
    """Latents contain NaN or infinity."""


class OutOfMemoryError(FaircutError, MemoryError):
    """Memory ran out. The message names settings that would fit."""


class Cancelled(FaircutError):
    """A run that another thread asked to stop; code that notes failures and goes on must let this one pass."""


class DamagedFileWarning(UserWarning):
    """A file of an earlier run is damaged. It is renamed, and a new one is made."""


class ReconstructionWarning(UserWarning):
    """The inversion reconstructs the source clip too poorly for a good edit."""


def choices(given: str, possible: Iterable[str]) -> str:
    """Return a clause for an error message that lists the possible names, close matches first.

    Args:
        given: Name that does not exist.
        possible: All names that exist.

    Returns:
        A clause such as ``did you mean 'fame'? Possible: fame, fatezero``; without names, that there is nothing to
        choose from.
    """
    names = sorted(possible)
    if not names:
        return "there is nothing to choose from"
    close = difflib.get_close_matches(given[:100], names, n=2, cutoff=0.6)  # Its time grows with the length squared.
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}Possible: {', '.join(names)}"


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an exception, from any library, means that memory ran out."""
    text = str(error)
    is_memory_error = any(cls.__name__ in ("MemoryError", "OutOfMemoryError") for cls in type(error).__mro__)
    return is_memory_error or (
        isinstance(error, RuntimeError)
        and any(
            sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory", "MPS backend out")
        )
    )
