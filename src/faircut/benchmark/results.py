"""Read and write the results of runs as JSON, and compute all figures of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from faircut.benchmark.store import EditRecord
from faircut.config.reading import read_json, short_repr
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError
from faircut.evaluate import metrics_of
from faircut.files import write_json
from faircut.metrics import Estimate, registry

__all__ = ["figures_of", "is_measured", "read_result", "write_result"]

R = TypeVar("R")


def figures_of(record: EditRecord, table: str, facts: Mapping[str, Any]) -> dict[str, float]:
    """Return an edit's figure for every metric of a table, from its record and from further inputs.

    Args:
        record: Record of the edit.
        table: One of `faircut.metrics.registry.TABLES`.
        facts: Further inputs of metrics by name, as in `faircut.metrics.registry.INPUTS`. The record's seconds are
            included.

    Returns:
        The figures by metric name, NaN where a metric has no figure.
    """
    metrics = metrics_of(table)
    inputs = {"edit_seconds": record.seconds, "preparing_seconds": record.preparing, **facts}
    more = {name: figure.value for name, figure in registry.measure(metrics.values(), inputs, curves=False).items()}
    figures = {**more, **record.figures}
    return {name: figures.get(name, math.nan) for name in metrics}


def is_measured(estimate: Estimate) -> bool:
    """Return whether an estimate has a value."""
    return estimate.n > 0 and not math.isnan(estimate.value)


def write_result(result: Any, path: str | Path) -> Path:
    """Write a dataclass as JSON in one atomic step. NaN and infinity become null."""
    return write_json(path, _finite(to_dict(result)))


def read_result(path: str | Path, what: str, version: int, kind: type[R]) -> R:
    """Read a result that `write_result` wrote.

    Args:
        path: Path of the file.
        what: Name of the file's content for error messages.
        version: Version of the file's layout that can be read.
        kind: Dataclass of the result.

    Raises:
        ConfigError: If the file cannot be read, has another format, or has wrong content.
    """
    data = read_json(path, what)
    if not isinstance(data, dict) or "format" not in data:
        raise ConfigError(f"cannot read {what} {path}: it has no key 'format'; give the file as a run wrote it")
    if data["format"] != version:
        raise ConfigError(f"{path} has format {short_repr(data['format'])}; this version reads {version}; run it again")
    return from_dict(kind, data, str(path))


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value
