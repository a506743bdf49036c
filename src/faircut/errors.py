"""What can go wrong, as one small tree of exceptions.

Every message says what was given, what is possible and what to do about it, in one line. The command line prints that
line and exits 2; a traceback means a defect of ours.
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
    """Base of everything that faircut raises on purpose."""


class ConfigError(FaircutError, ValueError):
    """A setting that does not exist, is out of its range or contradicts another one."""


class PromptError(FaircutError, ValueError):
    """A prompt, or a word of one, that cannot be used as asked."""


class VideoError(FaircutError, ValueError):
    """A clip that cannot be read, written or used."""


class ModelError(FaircutError, ValueError):
    """A checkpoint that is missing, of another kind or incomplete."""


class AttentionError(FaircutError, RuntimeError):
    """Attention that was not under control where it had to be."""


class NumericalError(FaircutError, ArithmeticError):
    """Latents that are no longer numbers."""


class OutOfMemoryError(FaircutError, MemoryError):
    """Not enough memory, with the plan that would fit."""


class Cancelled(FaircutError):
    """A run that another thread asked to stop; code that notes failures and goes on must let this one pass."""


class DamagedFileWarning(UserWarning):
    """A file of an earlier run that cannot be read any more; it was set aside, and is made again."""


class ReconstructionWarning(UserWarning):
    """The inversion does not give the source back as well as it should."""


def choices(given: str, possible: Iterable[str]) -> str:
    """Say what was possible: the close names first, then the whole list.

    Args:
        given: the name that was not found.
        possible: every name that would have been.

    Returns:
        A clause for an error message, such as ``did you mean 'fame'? Possible: fame, fatezero``.
    """
    names = sorted(possible)
    close = difflib.get_close_matches(given[:100], names, n=2, cutoff=0.6)  # Its time grows with the length squared.
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}Possible: {', '.join(names) or 'none'}"


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, of whatever library, says that memory ran out."""
    text = str(error)
    named = any(cls.__name__ in ("MemoryError", "OutOfMemoryError") for cls in type(error).__mro__)
    return named or (
        isinstance(error, RuntimeError)
        and any(
            sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory", "MPS backend out")
        )
    )
