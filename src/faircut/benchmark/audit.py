"""Running an audit: methods x policies over cases, each edit made once, kept at once, and never made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from faircut.benchmark.approaches import Approach, Ask
from faircut.benchmark.cases import Case, CaseClip
from faircut.benchmark.measure import Instruments, Reading, Record, measure, read_clip
from faircut.benchmark.store import Store, as_kept, seed_of
from faircut.edit.editor import VideoEditor
from faircut.edit.inversion import Inversion
from faircut.errors import ConfigError, FaircutError, choices
from faircut.fairness import targets
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration
from faircut.methods.base import Method
from faircut.model.fingerprint import Recipe, key_of

__all__ = ["POLICIES", "Audit", "Cell", "requests", "run_audit"]

POLICIES = (*targets.POLICIES, "explicit")
"""Policies of an audit; ``"explicit"`` asks for every value in turn."""

Advance = Callable[[], None]


@dataclass(frozen=True)
class Audit:
    """What decides every edit of an audit.

    Attributes:
        steps: N of inversion and edit.
        guidance: scale of the edits.
        seed: of the policies' draws, and of methods that draw noise; every case has its own noise.
        shard: (k, n): only every nth case, from the kth; (0, 1) is all of them.
        keep_clips: whether all frames of every edit are kept, so that other instruments can measure the same edits.
    """

    steps: int = 20
    guidance: float = 4.0
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    keep_clips: bool = False

    def seed_of(self, case: Case) -> int:
        """Return the seed of a case's noise."""
        return seed_of(self.seed, case.name)

    def __post_init__(self) -> None:
        k, n = self.shard
        if not 0 <= k < n:
            raise ConfigError(f"the shard is {k + 1}/{n}; give 1/{n} to {n}/{n}")


@dataclass(frozen=True)
class Cell:
    """One request of one policy.

    Attributes:
        policy: whose.
        case: of which case.
        value: what is asked for; None where nothing is, because the source is unclear.
    """

    policy: str
    case: Case
    value: str | None


def requests(
    policy: str,
    cases: Sequence[Case],
    seen: Sequence[str | None],
    attribute: Attribute,
    seed: int,
    calibration: Calibration | None = None,
) -> list[Cell]:
    """Decide what a policy asks of every case.

    Args:
        policy: one of `POLICIES`.
        cases: the cases.
        seen: what is perceived in each source.
        attribute: the values.
        seed: of the draws of ``"balanced"``, which are exact within every profession.
        calibration: knows the model's priors, for ``"minority"``.

    Raises:
        ConfigError: there is no such policy, or it lacks a calibration.
    """
    if policy == "preserve":
        return [Cell(policy, case, value) for case, value in zip(cases, seen, strict=True)]
    if policy == "explicit":
        return [Cell(policy, case, value) for case in cases for value in attribute.names]
    if policy == "balanced":
        drawn: dict[str, Iterator[str]] = {}
        names = [case.profession for case in cases]
        for number, profession in enumerate(dict.fromkeys(names)):
            drawn[profession] = iter(
                targets.allocate(attribute.names, names.count(profession), seed=seed * 1000 + number)
            )
        return [Cell(policy, case, next(drawn[case.profession])) for case in cases]
    if policy == "minority":
        cells = []
        for case in cases:
            prior = None if calibration is None else calibration.prior(case.profession)
            if not prior:
                raise ConfigError(f"nobody knows what the model renders for {case.profession!r}; calibrate it first")
            value = targets.choose_value(attribute, policy, prompt=case.profession, prior=prior)
            cells.append(Cell(policy, case, value))
        return cells
    raise ConfigError(f"no policy {policy!r}: {choices(policy, POLICIES)}")


def run_audit(
    editor: VideoEditor,
    cases: Sequence[Case],
    approaches: Sequence[Approach],
    policies: Sequence[str],
    instruments: Instruments,
    audit: Audit,
    folder: Path,
    *,
    calibration: Calibration | None = None,
    stage: Callable[[str, int], AbstractContextManager[Advance]],
) -> tuple[dict[tuple[str, str], list[tuple[Cell, Record]]], list[str]]:
    """Make and measure every edit that the policies ask for, or find it in the folder.

    Args:
        editor: the model.
        cases: what is edited.
        approaches: how.
        policies: what is asked for.
        instruments: measure it.
        audit: settings of the edits.
        folder: keeps a record and a picture of every edit; a stopped audit goes on from there.
        calibration: the strengths of FAME.
        stage: opens a progress bar of so many steps.

    Returns:
        By method and policy the requests with their records; and one line for each edit that failed. Of a shard, what is
        in it.
    """
    ours = list(cases)[audit.shard[0] :: audit.shard[1]]
    seen: dict[str, Reading] = {}
    recipe, recipes = editor.recipe("", "", audit.steps, editor.spatial_temporal), {}
    with stage("Reading sources", len(cases)) as advance:
        for case in cases:
            clip = case.load()
            seen[case.name] = read_clip(instruments, (clip.frames + 1) / 2, clip)
            # The frames are edited, the rest is measured by; what a case is called stands in the record.
            recipes[case.name] = replace(
                recipe, clip=key_of(clip=clip), source_prompt=case.source_prompt,
                more={"case": (case.name, case.profession), "attribute": instruments.attribute},
            )  # fmt: skip
            advance()
    values = [seen[case.name].perceived.value for case in cases]
    cells = [
        cell
        for policy in policies
        for cell in requests(policy, cases, values, instruments.attribute, audit.seed, calibration)
    ]
    work = _Work(editor, recipes, instruments, audit, Store(folder, Record, audit.keep_clips), calibration)
    wanted: dict[str, list[tuple[Approach, str | None]]] = {}
    for cell in cells:
        for approach in approaches:
            edit = (approach, cell.value if approach.asks else None)
            if edit not in wanted.setdefault(cell.case.name, []):
                wanted[cell.case.name].append(edit)
    failed: list[str] = []
    records: dict[tuple[str, str, str | None], Record] = {}
    with stage("Editing", sum(len(wanted[case.name]) for case in ours)) as advance:
        for case in ours:
            for approach, value, result in work.of_case(case, wanted[case.name], seen[case.name]):
                if isinstance(result, Record):
                    records[case.name, approach.name, value] = result
                else:
                    failed.append(f"{case.name}, {approach.name}, {value}: {result}")
                advance()
    found: dict[tuple[str, str], list[tuple[Cell, Record]]] = {}
    for cell in cells:
        for approach in approaches:
            record = records.get((cell.case.name, approach.name, cell.value if approach.asks else None))
            if record is not None:
                row = (cell, replace(record, requested=cell.value))
                found.setdefault((approach.name, cell.policy), []).append(row)
    return found, failed


@dataclass
class _Work:
    """Makes the edits of one case at a time, so that it is inverted once and only if something is missing.

    Cases with the same clip and source prompt that follow each other share an inversion.
    """

    editor: VideoEditor
    recipes: Mapping[str, Recipe]
    instruments: Instruments
    audit: Audit
    store: Store[Record]
    calibration: Calibration | None
    last: tuple[CaseClip, str, Inversion] | None = None

    def of_case(
        self, case: Case, edits: Iterable[tuple[Approach, str | None]], source: Reading
    ) -> Iterator[tuple[Approach, str | None, Record | str]]:
        """Give a record for each edit, or why it failed."""
        clip = inversion = None
        for approach, value in edits:
            alpha = approach.alpha(case, value, self.calibration)
            ask = Ask(value, source.perceived.value, alpha, self.instruments.attribute.name)
            method = approach.build(case, ask)
            edited = None
            try:
                key = self._key(case, approach, value, method)
                known = self.store.find(key)
                if known is not None and self.store.is_done(known, self.instruments.fingerprint):
                    yield approach, value, known
                    continue
                clip = clip or case.load()
                if known is not None:
                    edited = self.store.find_clip(key, clip.frames.shape)
                if known is not None and edited is not None:
                    seconds = known.seconds
                else:
                    inversion = inversion or self._inverted(case, clip)
                    edited, seconds = self._edit(case, approach, value, method, inversion)
            except FaircutError as error:
                # One clip that cannot be edited must not cost the others; it is reported, and tried again next time.
                yield approach, value, str(error)
                continue
            record = measure(key, case, approach.name, value, clip, source, edited, seconds, self.instruments)
            self.store.keep(key, record, (clip.frames + 1) / 2, edited)
            yield approach, value, record

    def _edit(
        self, case: Case, approach: Approach, value: str | None, method: Method, inversion: Inversion
    ) -> tuple[Tensor, float]:
        """Make an edit: (frame, 3, height, width), RGB in [0, 1]; and its seconds."""
        prompt = approach.prompt(case, value, self.instruments.attribute, self.editor.tokenize)
        noise = torch.Generator().manual_seed(self.audit.seed_of(case))
        started = time.perf_counter()
        result = self.editor.edit(inversion, prompt, method, guidance_scale=self.audit.guidance, generator=noise)
        seconds = time.perf_counter() - started
        assert result.video is not None
        return as_kept(result.video.frames), seconds

    def _inverted(self, case: Case, clip: CaseClip) -> Inversion:
        """Invert a case's clip, unless the last case had the same."""
        if self.last is None or self.last[0] is not clip or self.last[1] != case.source_prompt:
            self.last = None  # Recorded attention is large: never hold two.
            inversion = self.editor.invert(clip.frames, case.source_prompt, num_inference_steps=self.audit.steps)
            self.last = clip, case.source_prompt, inversion
        return self.last[2]

    def _key(self, case: Case, approach: Approach, value: str | None, method: Method) -> str:
        """Name an edit by all that decides it."""
        prompt = approach.prompt(case, value, self.instruments.attribute, self.editor.tokenize)
        return self.recipes[case.name].edited(
            prompt, method, guidance_scale=self.audit.guidance, seed=self.audit.seed_of(case), approach=approach.name,
            value=value, temporal=method.temporal, measured_with=case.prompt,
        ).key  # fmt: skip
