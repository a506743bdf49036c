"""Calibration: search the strengths that a model needs, with edits to the value that a clip does not show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from faircut._version import __version__
from faircut.benchmark.audit.approaches import APPROACHES, Ask
from faircut.benchmark.audit.cases import Case
from faircut.benchmark.audit.jobs import Audit
from faircut.benchmark.audit.measure import Instruments, read_clip
from faircut.benchmark.runner import Stage, make_edit, seed_of
from faircut.config.values import to_dict
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.fairness.calibration import Calibration, Point, best_alpha

__all__ = ["ALPHAS", "calibrate"]

ALPHAS = (0.0, 1.0, 1.5, 2.0)
_FRAMES = 4


def calibrate(
    session: Session,
    cases: Sequence[Case],
    instruments: Instruments,
    audit: Audit,
    *,
    model: str,
    alphas: Sequence[float] = ALPHAS,
    wanted: float = 0.95,
    stage: Stage,
) -> Calibration:
    """Search the smallest strength that reaches a hit rate without losing the profession, per profession and value.

    Four frames of every case are edited to the values that the case does not show, at every strength. At strength 0 no
    value is requested, so the values that are perceived there are the model's prior.

    Args:
        session: Session with the model.
        cases: Clips of people that are in no benchmark.
        instruments: Models that measure hits and professions.
        audit: Settings of the edits.
        model: Name of the model, for the record.
        alphas: Strengths to try, including 0.
        wanted: Hit rate to reach.
        stage: Opens a progress bar with a number of steps.

    Returns:
        The strengths of the model.
    """
    attribute = instruments.attribute
    hits: dict[tuple[str, str, float], list[tuple[bool, bool]]] = {}
    prior_readings: dict[str, list[str | None]] = {}
    with stage("Calibrating", len(cases) * len(alphas)) as advance:
        for case in cases:
            clip = case.load()
            frames = clip.frames[:: max(1, len(clip.frames) // _FRAMES)][:_FRAMES]
            for value in (name for name in attribute.names if name != case.value):
                for alpha in alphas:
                    method = APPROACHES["fame"].build(case, Ask(value, case.value, alpha, attribute.name))
                    request = EditRequest(
                        case.source_prompt, case.prompt, method, num_inference_steps=audit.steps,
                        guidance_scale=audit.guidance, seed=seed_of(audit.seed, case.name),
                    )  # fmt: skip
                    edited, _ = make_edit(session, request, frames)
                    reading = read_clip(instruments, (edited.frames + 1) / 2, clip)
                    hit = reading.perceived.value == value
                    hits.setdefault((case.profession, value, alpha), []).append(
                        (hit, reading.profession == case.profession)
                    )
                    if alpha == 0:
                        prior_readings.setdefault(case.profession, []).append(reading.perceived.value)
                    advance()
    curves: dict[str, dict[str, tuple[Point, ...]]] = {}
    for profession in dict.fromkeys(case.profession for case in cases):
        for value in attribute.names:
            points = tuple(
                _point(alpha, hits[profession, value, alpha]) for alpha in alphas if (profession, value, alpha) in hits
            )
            if points:
                curves.setdefault(profession, {})[value] = points
    strengths = {
        p: {v: best_alpha(points, wanted=wanted) for v, points in by_value.items()} for p, by_value in curves.items()
    }
    default = {
        v: float(np.median([by_value[v] for by_value in strengths.values() if v in by_value])) for v in attribute.names
    }
    priors = {
        p: {v: readings.count(v) / max(1, sum(s is not None for s in readings)) for v in attribute.names}
        for p, readings in prior_readings.items()
    }
    settings: dict[str, Any] = {
        "faircut": __version__,
        "day": time.strftime("%Y-%m-%d"),
        "cases": len(cases),
        "frames": _FRAMES,
        "wanted": wanted,
        **to_dict(audit),
    }
    return Calibration(
        attribute.name, model, session.editor.weights_fingerprint, strengths, default, priors, curves, settings
    )  # fmt: skip


def _point(alpha: float, outcomes: Sequence[tuple[bool, bool]]) -> Point:
    hits, kept = zip(*outcomes, strict=True)
    return Point(alpha, float(np.mean(hits)), float(np.mean(kept)), len(outcomes))
