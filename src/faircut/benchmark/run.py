"""One audit from settings to files: what the command line runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from faircut.benchmark.approaches import get_approaches
from faircut.benchmark.audit import Audit, run_audit
from faircut.benchmark.calibrate import calibrate
from faircut.benchmark.cases import Case, calibration_cases, get_benchmark
from faircut.benchmark.files import write_result
from faircut.benchmark.html import plot_calibration, write_html
from faircut.benchmark.measure import Instruments
from faircut.benchmark.results import AuditResult, summarise
from faircut.benchmark.settings import AuditRun
from faircut.benchmark.tasks import load_tasks
from faircut.config.values import to_dict
from faircut.edit.editor import VideoEditor
from faircut.edit.people import load_reader
from faircut.edit.preflight import check_model_steps
from faircut.edit.request import parse_device
from faircut.errors import ConfigError
from faircut.fairness.attributes import Attribute, get_attribute
from faircut.fairness.calibration import (
    Calibration,
    calibration_folder,
    find_calibration,
    keep_calibration,
)
from faircut.files import GENERATOR, Output, atomic_path, check_outputs, folder_outputs
from faircut.model.checkpoints import judge_folder, pocket_folder
from faircut.model.scorer import load_clip_scorer
from faircut.report import Environment

__all__ = ["LIMITS", "run"]

Stage = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

LIMITS = (
    "Values are what a classifier perceives in pictures, and binary as it is; they say nothing about who anybody is.",
    "A reading that is unclear is never a hit; the share of such clips stands in every table as abstentions.",
    "Disparity is measured per profession and then averaged; with few clips a profession even a fair coin is far from 0.",
    "The stereotypes of the pocket model were planted, in a published table; those of other models were learnt from data.",
    "Intervals are of resampled clips (95%, bootstrap within professions), not of other seeds, prompts or worlds.",
    "A balanced set of edits is a policy, not a fact about the people in the clips.",
)
"""What the figures of an audit do not say."""


def run(settings: AuditRun, stage: Stage, json: Path | None = None) -> AuditResult | None:
    """Run an audit and write its records, pictures, figures and report.

    Args:
        settings: of the audit.
        stage: opens a progress bar of so many steps.
        json: another place for the figures.

    Returns:
        What it found; None for a shard.

    Raises:
        FaircutError: something that was given cannot be used.
    """
    attribute = get_attribute(settings.attribute)
    calibration_folder()  # Says what is wrong with its name before time is spent.
    approaches = get_approaches(list(settings.methods))
    strength = settings.strength
    cases = load_tasks(settings.tasks, settings.n) if settings.tasks else get_benchmark(settings.name)(settings.n)
    folder = Path(settings.output)
    names = ["audit.json", "report.html", *(["calibration.png"] if settings.calibrate else [])]
    check_outputs(
        [*folder_outputs(folder, names), *([] if json is None else [Output(json, "--json")])],
        [settings.tasks, settings.model, settings.clip, settings.reader, *(case.path for case in cases)],
    )
    judge = judge_folder(settings.model)
    audit = Audit(
        settings.steps, (7.5 if judge is None else 4.0) if settings.guidance is None else settings.guidance, settings.seed,
        settings.shard, settings.keep_clips,
    )  # fmt: skip
    check_model_steps(settings.model, settings.steps)
    device, dtype = parse_device(settings.device, settings.dtype)
    instruments = _instruments(settings, judge and judge.parent, attribute, cases)
    editor = VideoEditor.from_pretrained(settings.model, dtype=dtype).to(device)
    editor.set_progress_bar_config(disable=True)
    table = None
    if settings.calibrate:
        table = calibrate(editor, calibration_cases(2), instruments, audit, model=settings.model, stage=stage)
        keep_calibration(table, attribute)
        with atomic_path(folder / "calibration.png") as picture:
            plot_calibration(table).savefig(picture, dpi=100, metadata={"Software": GENERATOR})
    table = table or find_calibration(editor, attribute)
    if strength is not None:
        table = _constant(strength, table, attribute)
    found, failed = run_audit(
        editor, cases, approaches, settings.policies, instruments, audit, folder,
        calibration=table, stage=stage,
    )  # fmt: skip
    if settings.shard != (0, 1):
        return None
    if not found:
        raise ConfigError(f"no edit could be made; the first failure: {failed[0] if failed else 'there were no cases'}")
    result = AuditResult(
        **summarise(found, attribute, settings.seed),
        provenance=_provenance(settings, audit, editor, instruments, table, cases, device),
        limits=LIMITS,
        failed=tuple(failed),
    )
    for path in (folder / "audit.json", json):
        if path is not None:
            write_result(result, path)
    write_html(result, found, folder, seed=settings.seed)
    return result


def _instruments(settings: AuditRun, pocket: Path | None, attribute: Attribute, cases: list[Case]) -> Instruments:
    """Load what measures.

    Raises:
        ConfigError: nobody reads people.
        ModelError: a CLIP cannot be loaded.
    """
    observer: Any = load_reader(settings.reader, settings.model)
    if observer is None:
        raise ConfigError(
            "this model has no judge of its own: say who reads people with --reader and a CLIP, such as "
            "openai/clip-vit-large-patch14"
        )
    name = settings.clip
    if name == "auto":
        name = str((pocket or pocket_folder()) / "clip") if settings.reader == "auto" else settings.reader
    scorer = load_clip_scorer(name)
    return Instruments(observer, scorer, attribute, tuple(dict.fromkeys(case.profession for case in cases)))


def _constant(alpha: float, table: Calibration | None, attribute: Attribute) -> Calibration:
    """A table with one strength for all; the priors stay."""
    default = dict.fromkeys(attribute.names, alpha)
    if table is None:
        return Calibration(attribute.name, "", "", {}, default)
    return replace(table, alphas={}, default=default)


def _provenance(
    settings: AuditRun,
    audit: Audit,
    editor: VideoEditor,
    instruments: Instruments,
    table: Calibration | None,
    cases: list[Case],
    device: Any,
) -> Mapping[str, Any]:
    clip = instruments.clip.name
    return {
        "settings": to_dict(settings),
        "audit": to_dict(audit),
        "benchmark": settings.name,
        "clips": len(cases),
        "model": {"name": settings.model, "fingerprint": editor.fingerprint},
        "reader": "the pocket judge" if settings.reader == "auto" else settings.reader,
        "clip": "pocket" if clip == str(pocket_folder() / "clip") else clip,
        "alphas": None
        if table is None
        else {"by profession": to_dict(table.alphas), "default": to_dict(table.default)},
        "environment": to_dict(Environment.of(device, editor.unet.dtype)),
    }
