"""Figures of the pocket model that need the editor: reconstruction, and a fixed list of FateZero edits."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faircut.benchmark.pocket.word_masks import word_masks
from faircut.fairness.perception import majority
from faircut.metrics import region_psnr, tem_con
from faircut.metrics.clip import ClipScorer
from faircut.pocket.clips import Clip, render_clip
from faircut.pocket.edit_cases import GUIDANCE, KINDS, LOCAL, EditCase, edit_cases, method_for
from faircut.pocket.judge import Judge
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor
from faircut.pocket.scenes import sample_scene
from faircut.pocket.vocabulary import LABELS
from faircut.pocket.world import labels

__all__ = ["EditFigures", "judge_edit", "measure_edit", "measure_editing"]

_SEED = 20
_JUDGED = ("profession", "gender", "colour", "object", "background", "style")
_STEPS, _FRAMES = 20, 8
_FIXED_POINT = 0.1


@dataclasses.dataclass(frozen=True)
class EditFigures:
    """The figures of one edit of a drawn clip.

    Attributes:
        shown: Share of the frames in which the judge reads the target's attribute.
        reached: Whether the majority of frames shows the target's attribute.
        kept: Whether the majority of frames shows every other attribute as in the source.
        background_psnr: PSNR in dB between edit and source outside the old and the new subject; None for edits of the
            whole frame.
        tem_con_ratio: CLIP similarity of neighbouring frames, divided by the source clip's.
    """

    shown: float
    reached: bool
    kept: bool
    background_psnr: float | None
    tem_con_ratio: float


def judge_edit(judge: Judge, frames: Tensor, case: EditCase) -> tuple[bool, bool]:
    """Return whether an edit reached its target, and whether it kept everything else.

    Args:
        judge: Judge that reads the attributes.
        frames: (frame, 3, height, width) in [0, 1], the edited clip.
        case: The requested edit.

    Returns:
        Whether the majority of frames shows the target's attribute, and whether it shows all others as in the source.
    """
    return _verdict(judge.read(frames), case)


def _verdict(read: dict[str, list[str]], case: EditCase) -> tuple[bool, bool]:
    """Do the work of `judge_edit` on attributes that the judge has read."""
    head = case.kind
    wanted, source = labels(case.target), labels(case.source)
    reached = majority(read[head]) == LABELS[head][wanted[head]]
    kept = all(
        majority(read[h]) == LABELS[h][source[h]]
        for h in _JUDGED
        if h != head and source[h] >= 0 and wanted[h] >= 0  # Colours cannot be read in a colourless style.
    )
    return reached, kept


def measure_edit(case: EditCase, clip: Clip, edited: Tensor, judge: Judge, scorer: ClipScorer) -> EditFigures:
    """Measure an edit of a drawn clip against the ground truth of the drawn world.

    Args:
        case: The requested edit.
        clip: Source clip, with as many frames as the edit.
        edited: (frame, 3, height, width) in [0, 1].
        judge: Judge that reads the attributes.
        scorer: CLIP that embeds the frames.

    Returns:
        The figures.
    """
    source = (to_tensor(clip.frames) + 1) / 2
    read = judge.read(edited)
    reached, kept = _verdict(read, case)
    wanted = LABELS[case.kind][labels(case.target)[case.kind]]
    shown = read[case.kind].count(wanted) / len(edited)
    outside = None
    if case.kind in LOCAL:
        # An edit may change pixels of the old and of the new subject.
        region = clip.masks.any(1) | render_clip(case.target, len(edited)).masks.any(1)
        outside = region_psnr(edited, source, torch.from_numpy(~region))
    ratio = tem_con(scorer.images(edited)) / tem_con(scorer.images(source))
    return EditFigures(shown, reached, kept, outside, ratio)


def measure_editing(
    folder: Path, judge: Judge, *, scale: float = 1.0, sheets: Path | None = None
) -> dict[str, tuple[float, int]]:
    """Measure reconstruction, word masks and the fixed list of edits.

    Args:
        folder: Folder of the model.
        judge: Judge that reads the attributes.
        scale: Fraction of the list to use, evenly over the kinds.
        sheets: Folder for pictures of the edits, the source above and the edit below. None for no pictures.

    Returns:
        Value and count of each figure, by dotted name.
    """
    from faircut import EditRequest, Session

    session = Session.load(str(folder), dtype="float32", device="cpu")
    scorer = ClipScorer.from_pretrained(folder / "clip")
    out = word_masks(session.editor, scale)
    rng = np.random.default_rng([_SEED, 2])
    clips = [render_clip(sample_scene(rng, split="held_out"), 4) for _ in range(max(2, int(8 * scale)))]
    for name, share in (("reconstruction_psnr", _FIXED_POINT), ("reconstruction_psnr_plain", 0.0)):
        quality: list[float] = []
        for clip in clips:
            request = EditRequest(
                clip.caption.text, num_inference_steps=50, fixed_point_steps=share, supplier="live", reconstruction=True
            )
            quality.append(session.prepare(request, to_tensor(clip.frames)).inversion.reconstruction_psnr or 0.0)
        out[name] = (float(np.mean(quality)), len(quality))

    outside, ratios, seconds = [], [], []
    with torch.no_grad():
        for kind, number in KINDS.items():
            cases = [c for c in edit_cases() if c.kind == kind][: max(2, round(number * scale))]
            hits, rows = [], []
            for case in cases:
                clip = render_clip(case.source, _FRAMES)
                frames = to_tensor(clip.frames)
                start = time.perf_counter()
                request = EditRequest(
                    case.source_prompt,
                    case.prompt,
                    method_for(case),
                    num_inference_steps=_STEPS,
                    guidance_scale=GUIDANCE[kind],
                )
                result = session.edit(session.prepare(request, frames))
                seconds.append(time.perf_counter() - start)
                assert result.video is not None
                figures = measure_edit(case, clip, (result.video.frames + 1) / 2, judge, scorer)
                hits.append(figures.reached and figures.kept)
                ratios.append(figures.tem_con_ratio)
                if figures.background_psnr is not None:
                    outside.append(figures.background_psnr)
                rows += [*frames[::3], *result.video.frames[::3]]
            out[f"edit_success.{kind}"] = (float(np.mean(hits)), len(hits))
            if sheets is not None:
                contact_sheet(to_pixels(torch.stack(rows)), 12, sheets / f"edit-{kind}.png")
    out["background_psnr"] = (float(np.mean(outside)), len(outside))
    out["tem_con_ratio"] = (float(np.mean(ratios)), len(ratios))
    out["edit_seconds"] = (float(np.mean(seconds)), len(seconds))
    return out
