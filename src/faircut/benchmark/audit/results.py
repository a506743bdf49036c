"""The result of an audit: every metric of every method and policy, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from faircut.benchmark.audit.jobs import Rows
from faircut.benchmark.audit.measure import AuditRecord
from faircut.benchmark.audit.policies import Cell
from faircut.benchmark.results import figures_of, read_result
from faircut.evaluate import metrics_of
from faircut.fairness.attributes import Attribute
from faircut.metrics import Estimate, estimate

__all__ = ["AuditResult", "load_result", "summarise"]

_FORMAT = 1


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit, with its provenance.

    Attributes:
        results: Estimates, averaged over professions, by method, policy and metric.
        professions: Shares of each value, of abstentions, hits and successes, by method, policy and profession.
        provenance: Benchmark, model, settings, reader, CLIP and versions.
        limits: What the figures do not say, in plain words.
        failed: One line for each failed edit.
        format: Version of the file's layout.
    """

    results: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    professions: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]] = field(metadata={"finite": False})
    provenance: Mapping[str, Any]
    limits: tuple[str, ...]
    failed: tuple[str, ...] = ()
    format: int = field(default=_FORMAT)


def summarise(edits: Mapping[tuple[str, str], Rows], attribute: Attribute, seed: int = 0) -> dict[str, Any]:
    """Estimate every metric of every method and policy.

    The policy ``"explicit"`` is reported as a whole and in two parts: ``explicit_counter`` has the requests against the
    stereotype of the profession, ``explicit_stereotypical`` those that follow it.

    Args:
        edits: Requests with their records, by method and policy.
        attribute: Attribute whose values were requested.
        seed: Seed of the bootstrap.

    Returns:
        ``results`` and ``professions`` of an `AuditResult`.
    """
    results: dict[str, dict[str, dict[str, Estimate]]] = {}
    professions: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for (method, policy), rows in edits.items():
        parts: dict[str, Rows] = {policy: rows}
        if policy == "explicit":
            # Stereotypes that are values of another attribute do not apply.
            typed = [row for row in rows if row[0].case.stereotype in attribute.names]
            parts["explicit_counter"] = [row for row in typed if row[0].case.stereotype != row[0].value]
            parts["explicit_stereotypical"] = [row for row in rows if row[0].case.stereotype == row[0].value]
        for name, part in parts.items():
            if part:
                results.setdefault(method, {})[name] = _measured(part, attribute, seed)
                professions.setdefault(method, {})[name] = _by_profession(part, attribute)
    return {"results": results, "professions": professions}


def _grouped(rows: Rows) -> dict[str, list[tuple[Cell, AuditRecord]]]:
    groups: dict[str, list[tuple[Cell, AuditRecord]]] = {}
    for row in rows:
        groups.setdefault(row[0].case.profession, []).append(row)
    return groups


def _measured(rows: Rows, attribute: Attribute, seed: int) -> dict[str, Estimate]:
    groups = _grouped(rows).values()
    figures = [
        [figures_of(record, "audit", _facts(cell, record, attribute)) for cell, record in group] for group in groups
    ]
    # Clips are resampled within each request, because the benchmark fixes how often each value is requested.
    strata = [[cell.value for cell, _ in group] for group in groups]
    measured = {}
    for name, metric in metrics_of("audit").items():
        more = {"values": len(attribute.names)} if metric.average_needs_values else {}
        values = [[edit[name] for edit in group] for group in figures]
        measured[name] = estimate(values, partial(metric.average, **more), strata=strata, seed=seed)
    return measured


def _facts(cell: Cell, record: AuditRecord, attribute: Attribute) -> dict[str, Any]:
    """Return the inputs of metrics that a request and its record have. Inputs that do not apply are left out."""
    names = attribute.names
    maybe = {
        "requested": cell.value,
        "source_value": record.source_value,
        "others_kept": record.other_person_kept,
        "position_shift": record.position_error,
        "escaped": record.escaped,
    }
    return {
        "perceived": record.perceived,
        "perceived_index": names.index(record.perceived) if record.perceived in names else -1,
        "stability": record.stability,
        "profession_seen": record.profession_success,
        **{name: value for name, value in maybe.items() if value is not None},
    }


def _by_profession(rows: Rows, attribute: Attribute) -> dict[str, dict[str, float]]:
    shares_of = {}
    for profession, group in _grouped(rows).items():
        records = [record for _, record in group]
        shares = {name: sum(r.perceived == name for r in records) / len(records) for name in attribute.names}
        hits = [cell.value == record.perceived for cell, record in group if cell.value is not None]
        shares_of[profession] = {
            **shares,
            "abstentions": sum(r.perceived is None for r in records) / len(records),
            "hit_rate": sum(hits) / len(hits) if hits else math.nan,
            "profession_success": sum(r.profession_success for r in records) / len(records),
            "n": float(len(records)),
        }
    return shares_of


def load_result(path: str | Path) -> AuditResult:
    """Read the result of an audit.

    Raises:
        ConfigError: If the file cannot be read, or has another format.
    """
    return read_result(path, "the audit", _FORMAT, AuditResult)
