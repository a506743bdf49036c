"""Sweeping the strength of an edit: one clip edited with every combination of some options, and the best trade-offs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from faircut.benchmark.files import write_result
from faircut.benchmark.store import Store
from faircut.config.values import from_dict, to_dict
from faircut.edit.editor import VideoEditor
from faircut.edit.inversion import Inversion
from faircut.edit.request import RunSettings, parse_device
from faircut.edit.session import invert_clip, load_editor, open_cache, read_clip
from faircut.errors import ConfigError, choices
from faircut.evaluate import KINDS, measure_edit
from faircut.files import is_ours, workspace
from faircut.methods import get_method
from faircut.metrics import pareto_front
from faircut.metrics.clip import ClipScorer
from faircut.model.fingerprint import key_of
from faircut.model.scorer import load_clip_scorer, scorer_fingerprint
from faircut.report import Environment, Stopwatch
from faircut.report.page import figure, image, picture, text, write_page
from faircut.video import write_video

__all__ = ["Sweep", "SweepPoint", "combinations", "plot_sweep", "run_sweep"]

Stage = Callable[..., AbstractContextManager[Callable[[], None]]]
_AGREEMENT, _CONSISTENCY = "clip_t", "tem_con"
_MOST = 200


@dataclass(frozen=True)
class SweepPoint:
    """One edit of a sweep.

    Attributes:
        key: names its picture.
        options: the options that were swept, with their values.
        figures: by metric.
        front: whether no other edit agrees better with the prompt and is more consistent.
    """

    key: str
    options: Mapping[str, Any]
    figures: Mapping[str, float] = field(metadata={"finite": False})
    front: bool = False


@dataclass(frozen=True)
class Sweep:
    """What a sweep found, and with what.

    Attributes:
        points: every edit, the best in agreement first.
        agreement: the metric of agreement with the prompt.
        consistency: the metric of consistency.
        source: figures of the clip itself, as if it were its own edit.
        provenance: settings, model, instruments, versions.
    """

    points: tuple[SweepPoint, ...]
    agreement: str
    consistency: str
    source: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def combinations(over: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the options' values.

    Args:
        over: values by option; ``"name.key"`` is one entry of an option that is a mapping, such as ``"reweight.red"``.

    Raises:
        ConfigError: there is nothing to sweep, or too much.
    """
    if not over or not all(over.values()):
        raise ConfigError(
            "a sweep needs options with values; give --over, such as --over cross_replace_steps=0.2,0.5,0.8"
        )
    count = math.prod(len(values) for values in over.values())
    if count > _MOST:
        raise ConfigError(f"{count} edits were asked for; give fewer values, {_MOST} edits at the most")
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
    """Edit a clip with every combination of some options, and find the best trade-offs of consistency and agreement.

    The clip is inverted once. The folder keeps a record and a picture of every edit, so that a stopped sweep goes on; it
    gets ``sweep.json``, ``sweep.html`` and the videos of the front.

    Args:
        settings: of the edits; the method's other options stay as they are.
        over: values by option.
        folder: where.
        clip: the CLIP that measures.
        agreement: metric of agreement with the prompt, of `faircut.evaluate.KINDS`.
        consistency: metric of consistency.
        stage: opens a progress bar.

    Returns:
        What was found.

    Raises:
        FaircutError: something that was given cannot be used.
    """
    for name in (agreement, consistency):
        if name not in KINDS or KINDS[name].higher_is_better is not True:
            raise ConfigError(
                f"no metric {name!r}: {choices(name, [k for k, v in KINDS.items() if v.higher_is_better])}"
            )
    cls = get_method(settings.method["name"])
    methods = []
    for options in combinations(over):
        built = with_options({k: v for k, v in settings.method.items() if k != "name"}, options)
        methods.append((options, from_dict(cls, built, f"method {cls.name}")))
    cache = open_cache(settings)
    device, dtype = parse_device(settings.device, settings.dtype)
    scorer = load_clip_scorer(clip)
    with stage("Reading"):
        video = read_clip(settings)
    with stage("Loading the model"):
        editor = load_editor(settings, device, dtype)
        for _, method in methods:
            method.check_model(editor.unet)
    store, source = Store(folder, SweepPoint), (video.frames + 1) / 2
    with workspace() as attention:
        temporal = settings.seen(methods[0][1], editor.spatial_temporal)
        inversion, _ = invert_clip(editor, video, settings, temporal, attention, cache, Stopwatch())
        points = []
        recipe = editor.recipe(
            key_of(clip=video.frames), settings.source_prompt, settings.num_inference_steps, temporal,
            settings.fixed_point_steps, measured_by=scorer_fingerprint(scorer),
        )  # fmt: skip
        with stage("Editing", len(methods)) as advance:
            for options, method in methods:
                key = recipe.edited(
                    settings.prompt, method, guidance_scale=settings.guidance_scale, seed=settings.seed,
                    negative_prompt=settings.negative_prompt,
                ).key  # fmt: skip
                point = store.find(key)
                if point is None or not store.picture(key).is_file():
                    result = _edit(editor, inversion, settings, method)
                    edited = (result.frames + 1) / 2
                    point = SweepPoint(key, options, _figures(edited, source, settings, scorer))
                    store.keep(key, point, source, edited)
                points.append(replace(point, options=options))
                advance()
        found = _ranked(points, agreement, consistency)
        _remove_front(folder, sum(point.front for point in found))
        with stage("Writing the front", sum(point.front for point in found)) as advance:
            built = dict(zip((point.key for point in points), (method for _, method in methods), strict=True))
            for number, point in enumerate(point for point in found if point.front):
                result = _edit(editor, inversion, settings, built[point.key])
                write_video(result, folder / f"front-{number + 1}.mp4")
                advance()
    provenance = {
        "settings": to_dict(settings),
        "over": to_dict(over),
        "model": {"name": settings.model, "fingerprint": editor.fingerprint},
        "clip": {"name": scorer.name, "fingerprint": scorer_fingerprint(scorer)},
        "environment": to_dict(Environment.of(device, editor.unet.dtype)),
    }
    sweep = Sweep(found, agreement, consistency, _figures(source, source, settings, scorer), provenance)
    write_result(sweep, folder / "sweep.json")
    _write_html(sweep, settings, store, folder / "sweep.html")
    return sweep


def _edit(editor: VideoEditor, inversion: Inversion, settings: RunSettings, method: Any) -> Any:
    result = editor.edit(
        inversion, settings.prompt, method, guidance_scale=settings.guidance_scale,
        negative_prompt=settings.negative_prompt, generator=torch.Generator().manual_seed(settings.seed),
    )  # fmt: skip
    return result.video


def _figures(edited: torch.Tensor, source: torch.Tensor, settings: RunSettings, scorer: ClipScorer) -> dict[str, float]:
    measures = measure_edit(edited, source, (settings.source_prompt, settings.prompt), scorer)
    return {name: measure.value for name, measure in measures.items() if measure.value is not None}


def _remove_front(folder: Path, count: int) -> None:
    """Remove the videos of an earlier sweep's front that this one's, of so many, does not replace."""
    for path in folder.glob("front-*.mp4"):
        number = path.stem.removeprefix("front-")
        if number.isascii() and number.isdigit() and int(number) > count and is_ours(path):
            path.unlink()


def _ranked(points: Sequence[SweepPoint], agreement: str, consistency: str) -> tuple[SweepPoint, ...]:
    figures = [tuple(p.figures.get(name, math.nan) for name in (agreement, consistency)) for p in points]
    marked = [replace(p, front=front) for p, front in zip(points, pareto_front(figures), strict=True)]
    return tuple(sorted(marked, key=lambda p: -p.figures.get(agreement, -math.inf)))


def plot_sweep(sweep: Sweep) -> Any:
    """Draw consistency against agreement, the front joined, the source beside it; returns a matplotlib Figure."""
    drawn = figure(8, 5)
    axes = drawn.subplots()
    names = sweep.agreement, sweep.consistency

    def at(figures: Mapping[str, float]) -> list[float]:
        return [figures.get(name, math.nan) for name in names]

    axes.scatter(*zip(*(at(p.figures) for p in sweep.points), strict=True), color="0.6", s=18, label="edits")
    front = [p for p in sweep.points if p.front and all(map(math.isfinite, at(p.figures)))]
    if front:
        axes.plot(*zip(*(at(p.figures) for p in front), strict=True), "o-", color="C0", label="front")
    for number, point in enumerate(front):
        axes.annotate(str(number + 1), at(point.figures), xytext=(4, 4), textcoords="offset points", fontsize=9)
    axes.scatter(*at(sweep.source), marker="x", color="C3", label="the source itself")
    axes.set_xlabel(f"{KINDS[names[0]].label}: {KINDS[names[0]].meaning}")
    axes.set_ylabel(f"{KINDS[names[1]].label}: {KINDS[names[1]].meaning}")
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn


def _write_html(sweep: Sweep, settings: RunSettings, store: Store[SweepPoint], path: Path) -> None:
    front = [point for point in sweep.points if point.front]
    names = sweep.agreement, sweep.consistency
    parts = [
        f"<h1>Sweep of {text(settings.method['name'])}</h1>",
        f"<p>“{text(settings.source_prompt)}” → “{text(settings.prompt)}”, {len(sweep.points)} edits</p>",
        *(
            [
                image(
                    plot_sweep(sweep),
                    "Right agrees better with the prompt, up is steadier; nothing beats the front.",
                )
            ]
            if any(math.isfinite(sum(p.figures.get(n, math.nan) for n in names)) for p in sweep.points)
            else ["<p>There is nothing to plot: a metric is known of no edit.</p>"]
        ),
        "<h2>The front</h2><p>Above the source, below its edit: first, middle and last frame.</p>",
        *(
            picture(store.picture(point.key), f"{number + 1}: {_said(point, sweep)}")
            for number, point in enumerate(front)
        ),
        "<h2>All others</h2>",
        *(picture(store.picture(point.key), _said(point, sweep)) for point in sweep.points if not point.front),
    ]
    write_page("Sweep", parts, path)


def _said(point: SweepPoint, sweep: Sweep) -> str:
    options = ", ".join(f"{name} {value}" for name, value in point.options.items())
    figures = ", ".join(
        f"{KINDS[name].label} {point.figures[name]:.3g}"
        for name in (sweep.agreement, sweep.consistency)
        if name in point.figures
    )
    return f"{options} ({figures})"
