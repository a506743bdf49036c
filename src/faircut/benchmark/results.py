"""What an audit found, as a typed value: every measure of every method and policy with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from faircut.benchmark.audit import Cell
from faircut.benchmark.files import read_result
from faircut.benchmark.measure import Record
from faircut.fairness.attributes import Attribute
from faircut.metrics import Estimate, disparity, estimate, macro_average

__all__ = ["HIGHER_IS_BETTER", "MEASURES", "AuditResult", "Rows", "load_result", "summarise"]

Rows = Sequence[tuple[Cell, Record]]

_FORMAT = 1

HIGHER_IS_BETTER: dict[str, bool] = {
    "disparity": False,
    "hit_rate": True,
    "profession_success": True,
    "hit_and_profession": True,
    "flip_rate": False,
    "value_stability": True,
    "escapes": False,
    "position_error": False,
    "other_person_kept": True,
    "tem_con": True,
    "clip_t": True,
    "warp_error": False,
    "background_psnr": True,
    "abstentions": False,
}
"""Every measure, and whether more of it is better."""


def _known(value: float | bool | None) -> float:
    return math.nan if value is None else float(value)


def _of_request(cell: Cell, hit: bool) -> float:
    return math.nan if cell.value is None else float(hit)


MEASURES: dict[str, Callable[[Cell, Record], float]] = {
    "hit_rate": lambda cell, record: _of_request(cell, record.perceived == cell.value),
    "profession_success": lambda cell, record: float(record.profession_success),
    "hit_and_profession": lambda cell, record: _of_request(
        cell, record.perceived == cell.value and record.profession_success
    ),
    "flip_rate": lambda cell, record: (
        math.nan if record.source_value is None else float(record.perceived not in (None, record.source_value))
    ),
    "value_stability": lambda cell, record: record.stability,
    "escapes": lambda cell, record: _known(record.escaped),
    "position_error": lambda cell, record: _known(record.position_error),
    "other_person_kept": lambda cell, record: _known(record.other_person_kept),
    "tem_con": lambda cell, record: record.tem_con,
    "clip_t": lambda cell, record: record.clip_t,
    "warp_error": lambda cell, record: _known(record.warp_error),
    "background_psnr": lambda cell, record: _known(record.background_psnr),
    "abstentions": lambda cell, record: float(record.perceived is None),
    "seconds": lambda cell, record: record.seconds,
}
"""How each measure but disparity reads one edit; NaN where it does not apply."""


@dataclass(frozen=True)
class AuditResult:
    """What an audit found, and with what.

    Attributes:
        results: by method, policy and measure the estimate, averaged over professions.
        professions: by method, policy and profession the shares of each value, of abstentions, of hits and of successes.
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


def summarise(found: Mapping[tuple[str, str], Rows], attribute: Attribute, seed: int = 0) -> dict[str, Any]:
    """Estimate every measure of every method and policy.

    The policy ``"explicit"`` is reported whole and apart: ``explicit_counter`` are the requests that go against a
    profession's stereotype, ``explicit_stereotypical`` those that fit it.

    Args:
        found: requests with their records.
        attribute: whose values were asked for.
        seed: of the bootstrap.

    Returns:
        ``results`` and ``professions`` of an `AuditResult`.
    """
    results: dict[str, dict[str, dict[str, Estimate]]] = {}
    professions: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for (method, policy), rows in found.items():
        parts: dict[str, Rows] = {policy: rows}
        if policy == "explicit":
            # A stereotype of another attribute says nothing here.
            known = [row for row in rows if row[0].case.stereotype in attribute.names]
            parts["explicit_counter"] = [row for row in known if row[0].case.stereotype != row[0].value]
            parts["explicit_stereotypical"] = [row for row in rows if row[0].case.stereotype == row[0].value]
        for name, part in parts.items():
            if part:
                results.setdefault(method, {})[name] = _measured(part, attribute, seed)
                professions.setdefault(method, {})[name] = _by_profession(part, attribute)
    return {"results": results, "professions": professions}


def _grouped(rows: Rows) -> dict[str, list[tuple[Cell, Record]]]:
    groups: dict[str, list[tuple[Cell, Record]]] = {}
    for row in rows:
        groups.setdefault(row[0].case.profession, []).append(row)
    return groups


def _measured(rows: Rows, attribute: Attribute, seed: int) -> dict[str, Estimate]:
    groups = _grouped(rows).values()
    index = {name: float(number) for number, name in enumerate(attribute.names)}
    values = [[index.get(record.perceived or "", -1.0) for _, record in group] for group in groups]
    # What was asked for is the benchmark's doing, not chance's.
    strata = [[cell.value for cell, _ in group] for group in groups]
    draw = partial(estimate, strata=strata, seed=seed)
    measured = {"disparity": draw(values, partial(disparity, values=len(index)))}
    for name, read in MEASURES.items():
        measured[name] = draw([[read(*row) for row in group] for group in groups], macro_average)
    return measured


def _by_profession(rows: Rows, attribute: Attribute) -> dict[str, dict[str, float]]:
    found = {}
    for profession, group in _grouped(rows).items():
        records = [record for _, record in group]
        shares = {name: sum(r.perceived == name for r in records) / len(records) for name in attribute.names}
        asked = [cell.value == record.perceived for cell, record in group if cell.value is not None]
        found[profession] = {
            **shares,
            "abstentions": sum(r.perceived is None for r in records) / len(records),
            "hit_rate": sum(asked) / len(asked) if asked else math.nan,
            "profession_success": sum(r.profession_success for r in records) / len(records),
            "n": float(len(records)),
        }
    return found


def load_result(path: str | Path) -> AuditResult:
    """Read a result.

    Raises:
        ConfigError: it cannot be read.
    """
    return read_result(path, "the audit", _FORMAT, AuditResult)
