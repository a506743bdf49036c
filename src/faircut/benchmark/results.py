"""Results of runs: as JSON files, and the figures of every record by the table of metrics."""

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
    """Return an edit's figure by every metric of a table: those of its record, and those that follow from other facts.

    Args:
        record: of the edit.
        table: one of `faircut.metrics.registry.TABLES`.
        facts: inputs of metrics beside the record's seconds, by name, of `faircut.metrics.registry.INPUTS`.

    Returns:
        The figures by the metrics' names; NaN where there is none.
    """
    metrics = metrics_of(table)
    inputs = {"edit_seconds": record.seconds, "preparing_seconds": record.preparing, **facts}
    more = {name: figure.value for name, figure in registry.measure(metrics.values(), inputs, curves=False).items()}
    figures = {**more, **record.figures}
    return {name: figures.get(name, math.nan) for name in metrics}


def is_measured(estimate: Estimate) -> bool:
    """Whether an estimate is of anything."""
    return estimate.n > 0 and not math.isnan(estimate.value)


def write_result(result: Any, path: str | Path) -> Path:
    """Write a dataclass as JSON, whole or not at all; what is not a number is null."""
    return write_json(path, _finite(to_dict(result)))


def read_result(path: str | Path, what: str, version: int, kind: type[R]) -> R:
    """Read a file of `write_result`.

    Args:
        path: the file.
        what: it is, for messages.
        version: of the layout that can be read.
        kind: dataclass of the result.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    data = read_json(path, what)
    if not isinstance(data, dict) or "format" not in data:
        raise ConfigError(f"cannot read {what} {path}: it has no format; give the file as a run wrote it")
    if data["format"] != version:
        raise ConfigError(f"{path} has format {short_repr(data['format'])}; this version reads {version}; run it again")
    return from_dict(kind, data, str(path))


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value
