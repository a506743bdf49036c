"""Sweep an edit's options: edit one clip with every combination of values, and find the best trade-offs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from faircut.benchmark.results import write_result
from faircut.benchmark.runner import Made, Stage, instruments_of, make_edit, run_jobs
from faircut.benchmark.store import Store
from faircut.benchmark.sweep_html import write_html
from faircut.benchmark.sweep_points import Sweep, SweepPoint
from faircut.config.values import from_dict, to_dict
from faircut.edit.request import EditRequest, RunSettings, parse_device
from faircut.edit.run import read_clip
from faircut.edit.session import Session, open_cache
from faircut.errors import ConfigError, choices
from faircut.evaluate import measure_edit, metrics_of
from faircut.files import made_by_faircut
from faircut.methods import get_method
from faircut.metrics import pareto_front
from faircut.metrics.clip import ClipScorer
from faircut.model.scorer import load_clip_scorer, scorer_fingerprint
from faircut.report import Environment
from faircut.video import Video, write_video

__all__ = ["combinations", "run_sweep", "with_options"]

_AGREEMENT, _CONSISTENCY = "clip_t", "tem_con"
_MAX_EDITS = 200


def combinations(over: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of option values.

    Args:
        over: Values by option. ``"name.key"`` is one entry of an option that is a mapping, such as ``"reweight.red"``.

    Raises:
        ConfigError: If an option has no values, or there are more than 200 combinations.
    """
    if not over or not all(over.values()):
        raise ConfigError(
            "a sweep needs options with values; give --over, such as --over cross_replace_steps=0.2,0.5,0.8"
        )
    count = math.prod(len(values) for values in over.values())
    if count > _MAX_EDITS:
        raise ConfigError(f"this sweep has {count} edits, and at most {_MAX_EDITS} are possible; give fewer values")
    return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]


def with_options(method: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's settings with some options changed."""
    changed = dict(method)
    for name, value in options.items():
        option, dot, key = name.partition(".")
        changed[option] = {**changed.get(option, {}), key: value} if dot else value
    return changed


def run_sweep(
    settings: RunSettings,
    over: Mapping[str, Sequence[Any]],
    folder: Path,
    *,
    clip: str = "auto",
    agreement: str = _AGREEMENT,
    consistency: str = _CONSISTENCY,
    stage: Stage,
) -> Sweep:
    """Edit a clip with every combination of option values, and find the best trade-offs of consistency and agreement.

    The clip is inverted once. The folder stores a record and a picture of every edit, so that a stopped sweep can
    continue. ``sweep.json``, ``sweep.html`` and the videos of the Pareto front are written there too.

    Args:
        settings: Settings of the edits. Options of the method that are not swept keep their values.
        over: Values by option.
        folder: Output folder.
        clip: Folder or hub name of the CLIP that measures, or ``"auto"``.
        agreement: Name of the metric for agreement with the prompt, one that ``faircut evaluate`` shows.
        consistency: Name of the metric for consistency.
        stage: Opens a progress bar.

    Returns:
        The edits with their figures, the Pareto front marked.

    Raises:
        FaircutError: If an input cannot be used.
    """
    possible = [name for name, metric in metrics_of("evaluate").items() if metric.better == "higher"]
    for name in (agreement, consistency):
        if name not in possible:
            raise ConfigError(f"no metric {name!r} for which higher is better: {choices(name, possible)}")
    cls = get_method(settings.method["name"])
    methods = []
    for options in combinations(over):
        built = with_options({k: v for k, v in settings.method.items() if k != "name"}, options)
        methods.append((options, from_dict(cls, built, f"method {cls.name}")))
    cache = open_cache(settings)
    parse_device(settings.device, settings.dtype)
    scorer = load_clip_scorer(clip)
    with stage("Reading"):
        video = read_clip(settings)
    with stage("Loading the model"):
        requests = [settings.request(method=method) for _, method in methods]
        session = Session.of(settings, requests, cache)
    store, instruments = Store(folder, SweepPoint), instruments_of("evaluate", scorer_fingerprint(scorer))
    jobs = [
        SweepJob(session, video, request, options, scorer, instruments)
        for (options, _), request in zip(methods, requests, strict=True)
    ]
    points, failed, made_by = [], [], {}
    with stage("Editing", len(jobs)) as advance:
        for job, point, failure in run_jobs(jobs, store, instruments, advance, rounded=False):
            if point is None:
                failed.append(failure)
            else:
                points.append(replace(point, options=job.options))
                made_by[point.key] = job
    if not points:
        raise ConfigError(f"no edit could be made; the first failure: {failed[0]}")
    ranked = _ranked(points, agreement, consistency)
    front = [point for point in ranked if point.front]
    _remove_front(folder, len(front))
    with stage("Writing the front", len(front)) as advance:
        for number, point in enumerate(front):
            # The edit is made again, because the store has only a picture and rounded frames, not the video.
            write_video(made_by[point.key].edited(), folder / f"front-{number + 1}.mp4")
            advance()
    provenance = {
        "settings": to_dict(settings),
        "over": to_dict(over),
        "model": {"name": settings.model, "fingerprint": session.fingerprint},
        "clip": {"name": scorer.name, "fingerprint": scorer_fingerprint(scorer)},
        "environment": to_dict(Environment.of(session.device, session.editor.backbone.dtype)),
    }
    source = (video.frames + 1) / 2
    source_figures = _figures(source, source, requests[0], scorer)
    sweep = Sweep(ranked, agreement, consistency, source_figures, provenance, tuple(failed))
    write_result(sweep, folder / "sweep.json")
    write_html(sweep, settings, store, folder / "sweep.html")
    return sweep


@dataclass(frozen=True)
class SweepJob:
    """One edit of a sweep, as a `faircut.benchmark.runner.Job`.

    Attributes:
        session: Session with the model.
        video: The clip.
        request: The edit.
        options: Swept options with their values.
        scorer: CLIP that measures.
        instruments: Fingerprint of the measuring models and metrics.
    """

    session: Session
    video: Video
    request: EditRequest
    options: Mapping[str, Any]
    scorer: ClipScorer
    instruments: str

    @property
    def title(self) -> str:
        """Name of the edit in the list of failed edits."""
        return ", ".join(f"{name} {value}" for name, value in self.options.items())

    def key(self) -> str:
        """Return the edit's key: a hash of everything that decides its result."""
        return self.session.key(self.request, self.video)

    def source(self) -> Tensor:
        """Return the source clip, (frame, 3, height, width), RGB in [0, 1]."""
        return (self.video.frames + 1) / 2

    def edited(self) -> Video:
        """Edit the clip, and return the video with the source's times and sound."""
        return make_edit(self.session, self.request, self.video)[0]

    def edit(self) -> Made:
        """Make the edit."""
        return make_edit(self.session, self.request, self.video)[1]

    def measure(self, key: str, edited: Tensor, seconds: float, preparing: float) -> SweepPoint:
        """Measure the edit, (frame, 3, height, width), RGB in [0, 1]."""
        return SweepPoint(
            key=key, instruments=self.instruments, seconds=seconds, preparing=preparing,
            figures=_figures(edited, self.source(), self.request, self.scorer), options=self.options,
        )  # fmt: skip


def _figures(edited: Tensor, source: Tensor, request: EditRequest, scorer: ClipScorer) -> dict[str, float]:
    measures = measure_edit(edited, source, (request.source_prompt, request.prompt), scorer)
    return {name: measure.value for name, measure in measures.items() if measure.value is not None}


def _remove_front(folder: Path, count: int) -> None:
    """Remove videos of an earlier sweep's front whose numbers are above the size of this front."""
    for path in folder.glob("front-*.mp4"):
        number = path.stem.removeprefix("front-")
        if number.isascii() and number.isdigit() and int(number) > count and made_by_faircut(path):
            path.unlink()


def _ranked(points: Sequence[SweepPoint], agreement: str, consistency: str) -> tuple[SweepPoint, ...]:
    figures = [tuple(p.figures.get(name, math.nan) for name in (agreement, consistency)) for p in points]
    marked = [replace(p, front=front) for p, front in zip(points, pareto_front(figures), strict=True)]
    return tuple(sorted(marked, key=lambda p: -p.figures.get(agreement, -math.inf)))
