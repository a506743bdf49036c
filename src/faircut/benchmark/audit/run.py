"""The audit as a benchmark, from settings to files, as ``faircut audit`` runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from faircut.benchmark.audit.approaches import Approach, get_approaches
from faircut.benchmark.audit.calibrate import calibrate
from faircut.benchmark.audit.cases import Case, calibration_cases, get_benchmark
from faircut.benchmark.audit.html import plot_calibration, write_html
from faircut.benchmark.audit.jobs import Audit, Rows, run_audit
from faircut.benchmark.audit.measure import Instruments
from faircut.benchmark.audit.results import AuditResult, summarise
from faircut.benchmark.audit.tasks import load_tasks
from faircut.benchmark.run import Wing
from faircut.benchmark.runner import Stage
from faircut.benchmark.settings import AuditRun
from faircut.config.values import to_dict
from faircut.edit.readers import load_reader
from faircut.edit.session import Session
from faircut.errors import ConfigError
from faircut.fairness.attributes import Attribute, get_attribute
from faircut.fairness.calibration import (
    Calibration,
    calibration_folder,
    find_calibration,
    keep_calibration,
)
from faircut.files import GENERATOR, atomic_path
from faircut.model.checkpoints import judge_folder, pocket_folder
from faircut.model.scorer import load_clip_scorer

__all__ = ["LIMITS", "AuditWing"]

LIMITS = (
    "Values are what a classifier perceives in pictures, as binary as the classifier; they do not describe identities.",
    "An unclear reading is never a hit; every table shows the share of such clips as abstentions.",
    "Disparity is averaged over professions; with few clips in a profession even a fair coin is far from 0.",
    "The pocket model's stereotypes were planted, by a published table; those of other models were learned from data.",
    "Intervals (95%, bootstrap within professions) cover other clips, but not other seeds, prompts or worlds.",
    "A balanced set of edits is a policy, not a fact about the people in the clips.",
)
"""Limits of what the figures of an audit say, for reports."""


Edits = dict[tuple[str, str], Rows]


@dataclass
class AuditWing(Wing[AuditRun, Edits, AuditResult]):
    """The audit of all pairs of methods and policies over clips of people."""

    file: ClassVar[str] = "audit.json"
    attribute: Attribute = field(init=False)
    approaches: list[Approach] = field(init=False)
    cases: list[Case] = field(init=False)
    audit: Audit = field(init=False)
    instruments: Instruments = field(init=False)
    calibration: Calibration | None = field(init=False, default=None)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the run may write."""
        return (self.file, "report.html", *(["calibration.png"] if self.settings.calibrate else []))

    def check(self) -> list[Any]:
        """Read the cases, and check everything that needs no model; see `Wing`."""
        settings = self.settings
        self.attribute = get_attribute(settings.attribute)
        calibration_folder()  # Raises an error early if the folder cannot be used.
        self.approaches = get_approaches(list(settings.methods))
        self.cases = (
            load_tasks(settings.tasks, settings.n) if settings.tasks else get_benchmark(settings.name)(settings.n)
        )
        guidance = settings.guidance
        if guidance is None:
            guidance = 7.5 if judge_folder(settings.model) is None else 4.0
        self.audit = Audit(settings.steps, guidance, settings.seed, settings.shard, settings.keep_clips)
        return [settings.tasks, settings.reader, *(case.path for case in self.cases)]

    def load(self) -> None:
        """Load the CLIP and the reader of people."""
        self.instruments = _instruments(self.settings, self.attribute, self.cases)

    def make(self, session: Session, stage: Stage) -> tuple[Edits, list[str]]:
        """Calibrate if requested, then make and measure every edit that is not stored yet; see `Wing`."""
        settings, folder = self.settings, Path(self.settings.output)
        table = None
        if settings.calibrate:
            table = calibrate(
                session, calibration_cases(2), self.instruments, self.audit, model=settings.model, stage=stage
            )
            keep_calibration(table, self.attribute)
            with atomic_path(folder / "calibration.png") as picture:
                plot_calibration(table).savefig(picture, dpi=100, metadata={"Software": GENERATOR})
        table = table or find_calibration(session.editor, self.attribute)
        if settings.strength is not None:
            table = _constant(settings.strength, table, self.attribute)
        self.calibration = table
        return run_audit(
            session, self.cases, self.approaches, settings.policies, self.instruments, self.audit, folder,
            calibration=table, stage=stage,
        )  # fmt: skip

    def result(self, edits: Edits, failed: list[str], facts: dict[str, Any]) -> AuditResult:
        """Estimate every metric of every method and policy; see `Wing`."""
        settings, table, clip = self.settings, self.calibration, self.instruments.clip.name
        strengths = table and {"by profession": to_dict(table.alphas), "default": to_dict(table.default)}
        provenance = {
            **facts,
            "audit": to_dict(self.audit),
            "benchmark": settings.name,
            "clips": len(self.cases),
            "reader": "the pocket judge" if settings.reader == "auto" else settings.reader,
            "clip": "pocket" if clip == str(pocket_folder() / "clip") else clip,
            "alphas": strengths,
        }
        summary = summarise(edits, self.attribute, settings.seed)
        return AuditResult(**summary, provenance=provenance, limits=LIMITS, failed=tuple(failed))

    def report(self, result: AuditResult, edits: Edits, folder: Path) -> None:
        """Write ``report.html``; see `Wing`."""
        write_html(result, edits, folder, seed=self.settings.seed)


def _instruments(settings: AuditRun, attribute: Attribute, cases: list[Case]) -> Instruments:
    """Load the models that measure.

    Raises:
        ConfigError: If no reader was given, and the model has no judge.
        ModelError: If a CLIP cannot be loaded.
    """
    observer: Any = load_reader(settings.reader, settings.model)
    if observer is None:
        raise ConfigError(
            "this model has no judge to read people; give --reader with the name of a CLIP, such as "
            "openai/clip-vit-large-patch14"
        )
    name = settings.clip
    if name == "auto":
        judge = judge_folder(settings.model)
        pocket = pocket_folder() if judge is None else judge.parent
        name = str(pocket / "clip") if settings.reader == "auto" else settings.reader
    scorer = load_clip_scorer(name)
    return Instruments(observer, scorer, attribute, tuple(dict.fromkeys(case.profession for case in cases)))


def _constant(alpha: float, table: Calibration | None, attribute: Attribute) -> Calibration:
    """Return a calibration with one strength for all professions and values. The priors are kept."""
    default = dict.fromkeys(attribute.names, alpha)
    if table is None:
        return Calibration(attribute.name, "", "", {}, default)
    return replace(table, alphas={}, default=default)
