"""The edits of an audit as jobs of the runner.

A policy only decides which value is requested, so an edit is made once and shared by all policies that request it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from faircut.benchmark.audit.approaches import Approach, Ask
from faircut.benchmark.audit.cases import Case, CaseClip
from faircut.benchmark.audit.measure import AuditRecord, Instruments, Reading, measure, read_clip
from faircut.benchmark.audit.policies import Cell, requests
from faircut.benchmark.runner import Made, Stage, check_shard, make_edit, part_of, run_jobs, seed_of
from faircut.benchmark.store import Store
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.fairness.calibration import Calibration
from faircut.model.fingerprint import key_of

__all__ = ["Audit", "Rows", "run_audit"]

Rows = Sequence[tuple[Cell, AuditRecord]]


@dataclass(frozen=True)
class Audit:
    """The settings of all edits of an audit.

    Attributes:
        steps: Number of denoising steps, for inversion and edit.
        guidance: Guidance scale of the edits.
        seed: Seed of the policies' draws, and of methods that draw noise; every case has its own noise.
        shard: (k, n), to edit only every nth case from the kth on; (0, 1) edits all.
        keep_clips: Whether to store all frames of every edit, so that other models can measure the same edits.
    """

    steps: int = 20
    guidance: float = 4.0
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    keep_clips: bool = False

    def __post_init__(self) -> None:
        check_shard(self.shard)


def run_audit(
    session: Session,
    cases: Sequence[Case],
    approaches: Sequence[Approach],
    policies: Sequence[str],
    instruments: Instruments,
    audit: Audit,
    folder: Path,
    *,
    calibration: Calibration | None = None,
    stage: Stage,
) -> tuple[dict[tuple[str, str], Rows], list[str]]:
    """Make and measure every edit that the policies request and the folder does not have.

    Args:
        session: Session with the model.
        cases: Clips to edit.
        approaches: Approaches to compare.
        policies: Names of the policies.
        instruments: Models that measure the edits.
        audit: Settings of the edits.
        folder: Folder for a record and a picture of every edit, from which a stopped audit continues.
        calibration: Strengths of FAME.
        stage: Opens a progress bar with a number of steps.

    Returns:
        The requests with their records by method and policy, limited to the shard, and one line for each failed edit.
    """
    readings: dict[str, Reading] = {}
    digests: dict[str, str] = {}
    with stage("Reading sources", len(cases)) as advance:
        for case in cases:
            clip = case.load()
            readings[case.name] = read_clip(instruments, (clip.frames + 1) / 2, clip)
            # All of the clip is in the digest: the frames decide the edit, the masks and the flow decide its figures.
            digests[case.name] = key_of(clip=clip)
            advance()
    values = [readings[case.name].perceived.value for case in cases]
    cells = [
        cell
        for policy in policies
        for cell in requests(policy, cases, values, instruments.attribute, audit.seed, calibration)
    ]
    shared = _Shared(session, digests, instruments, audit, calibration)
    jobs = {
        (case.name, approach.name, value): AuditJob(shared, case, approach, value, readings[case.name])
        for case in part_of(cases, audit.shard)
        for cell in cells
        if cell.case.name == case.name
        for approach in approaches
        for value in [cell.value if approach.asks else None]
    }
    store = Store(folder, AuditRecord, audit.keep_clips)
    failed: list[str] = []
    records: dict[tuple[str, str, str | None], AuditRecord] = {}
    with stage("Editing", len(jobs)) as advance:
        for job, record, failure in run_jobs(jobs.values(), store, instruments.fingerprint, advance):
            if record is None:
                failed.append(failure)
            else:
                records[job.case.name, job.approach.name, job.value] = record
    rows: dict[tuple[str, str], list[tuple[Cell, AuditRecord]]] = {}
    for cell in cells:
        for approach in approaches:
            record = records.get((cell.case.name, approach.name, cell.value if approach.asks else None))
            if record is not None:
                rows.setdefault((approach.name, cell.policy), []).append((cell, replace(record, requested=cell.value)))
    return dict(rows), failed


@dataclass
class _Shared:
    """The objects that all edits of an audit share.

    Consecutive cases with the same clip and source prompt share an inversion, which the session holds.
    """

    session: Session
    digests: Mapping[str, str]
    instruments: Instruments
    audit: Audit
    calibration: Calibration | None
    clip: tuple[str, CaseClip] | None = None

    def clip_of(self, case: Case) -> CaseClip:
        """Draw or read the clip of a case, once for all edits of the case."""
        if self.clip is None or self.clip[0] != case.name:
            self.clip = case.name, case.load()
        return self.clip[1]


@dataclass
class AuditJob:
    """One edit of a case, as a `faircut.benchmark.runner.Job`.

    Attributes:
        shared: Objects shared with the other edits.
        case: Case to edit.
        approach: Approach that edits the case.
        value: Requested value; None for no value.
        reading: What is perceived in the source.
    """

    shared: _Shared
    case: Case
    approach: Approach
    value: str | None
    reading: Reading

    @property
    def title(self) -> str:
        """Name of the edit in the list of failed edits."""
        return f"{self.case.name}, {self.approach.name}, {self.value}"

    @cached_property
    def request(self) -> EditRequest:
        """The request of the edit."""
        shared, audit = self.shared, self.shared.audit
        attribute = shared.instruments.attribute
        alpha = self.approach.alpha(self.case, self.value, shared.calibration)
        ask = Ask(self.value, self.reading.perceived.value, alpha, attribute.name)
        return EditRequest(
            self.case.source_prompt,
            self.approach.prompt(self.case, self.value, attribute, shared.session.editor.tokenize),
            self.approach.build(self.case, ask),
            num_inference_steps=audit.steps,
            guidance_scale=audit.guidance,
            seed=seed_of(audit.seed, self.case.name),
        )

    def key(self) -> str:
        """Return the edit's key: a hash of everything that decides its result, its figures and its record."""
        case = self.case
        return self.shared.session.key(
            self.request, self.shared.digests[case.name], case=(case.name, case.profession), measured_with=case.prompt,
            attribute=self.shared.instruments.attribute, approach=self.approach.name, value=self.value,
        )  # fmt: skip

    def source(self) -> Tensor:
        """Return the source clip, (frame, 3, height, width), RGB in [0, 1]."""
        return (self.shared.clip_of(self.case).frames + 1) / 2

    def edit(self) -> Made:
        """Make the edit."""
        return make_edit(self.shared.session, self.request, self.shared.clip_of(self.case).frames)[1]

    def measure(self, key: str, edited: Tensor, seconds: float, preparing: float) -> AuditRecord:
        """Measure the edit, (frame, 3, height, width), RGB in [0, 1]."""
        return measure(
            key, self.case, self.approach.name, self.value, self.shared.clip_of(self.case), self.reading, edited,
            seconds,
            self.shared.instruments,
        )  # fmt: skip
