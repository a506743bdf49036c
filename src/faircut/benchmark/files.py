"""Results as JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from faircut.config import to_dict
from faircut.errors import ConfigError
from faircut.files import write_json
from faircut.metrics import Estimate

__all__ = ["read_estimate", "read_result", "write_result"]


R = TypeVar("R")


def write_result(result: Any, path: str | Path) -> Path:
    """Write a dataclass as JSON, whole or not at all; what is not a number is null."""
    return write_json(path, _finite(to_dict(result)))


def read_estimate(data: Mapping[str, Any]) -> Estimate:
    """Read an estimate as `write_result` wrote it."""
    value, low, high = (math.nan if data[k] is None else float(data[k]) for k in ("value", "low", "high"))
    return Estimate(value, int(data["n"]), low, high)


def read_result(path: str | Path, what: str, version: int, build: Callable[[Mapping[str, Any]], R]) -> R:
    """Read a file of `write_result`.

    Args:
        path: the file.
        what: it is, for messages.
        version: of the layout that can be read.
        build: makes the result of what is in the file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] != version:
            raise ConfigError(f"{path} has format {data['format']}; this version reads {version}; run it again")
        return build(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"cannot read {what} {path}: {error}") from None


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value
