"""What an audit found, as a typed value: every measure of every method and policy with its interval."""

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
    """What an audit found, and with what.

    Attributes:
        results: by method, policy and measure the estimate, averaged over professions.
        professions: by method, policy and profession the shares of each value, of abstentions, of hits and of
            successes.
        provenance: benchmark, model, settings, instruments, versions.
        limits: what the figures do not say, in plain words.
        failed: one line for each edit that could not be made.
        format: version of this layout.
    """

    results: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    professions: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]] = field(metadata={"finite": False})
    provenance: Mapping[str, Any]
    limits: tuple[str, ...]
    failed: tuple[str, ...] = ()
    format: int = field(default=_FORMAT)


def summarise(edits: Mapping[tuple[str, str], Rows], attribute: Attribute, seed: int = 0) -> dict[str, Any]:
    """Estimate every measure of every method and policy.

    The policy ``"explicit"`` is reported whole and apart: ``explicit_counter`` are the requests that go against a
    profession's stereotype, ``explicit_stereotypical`` those that fit it.

    Args:
        edits: requests with their records, by method and policy.
        attribute: whose values were asked for.
        seed: of the bootstrap.

    Returns:
        ``results`` and ``professions`` of an `AuditResult`.
    """
    results: dict[str, dict[str, dict[str, Estimate]]] = {}
    professions: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for (method, policy), rows in edits.items():
        parts: dict[str, Rows] = {policy: rows}
        if policy == "explicit":
            # A stereotype of another attribute says nothing here.
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
    # What was asked for is the benchmark's doing, not chance's.
    strata = [[cell.value for cell, _ in group] for group in groups]
    measured = {}
    for name, metric in metrics_of("audit").items():
        more = {"values": len(attribute.names)} if metric.average_needs_values else {}
        values = [[edit[name] for edit in group] for group in figures]
        measured[name] = estimate(values, partial(metric.average, **more), strata=strata, seed=seed)
    return measured


def _facts(cell: Cell, record: AuditRecord, attribute: Attribute) -> dict[str, Any]:
    """Return the inputs of metrics that a request and its record hold; what does not apply is left out."""
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
        asked = [cell.value == record.perceived for cell, record in group if cell.value is not None]
        shares_of[profession] = {
            **shares,
            "abstentions": sum(r.perceived is None for r in records) / len(records),
            "hit_rate": sum(asked) / len(asked) if asked else math.nan,
            "profession_success": sum(r.profession_success for r in records) / len(records),
            "n": float(len(records)),
        }
    return shares_of


def load_result(path: str | Path) -> AuditResult:
    """Read a result.

    Raises:
        ConfigError: it cannot be read.
    """
    return read_result(path, "the audit", _FORMAT, AuditResult)
