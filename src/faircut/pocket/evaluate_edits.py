"""The figures of the pocket model that need the editor: inversion, word masks, and a fixed list of FateZero edits."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faircut.fairness.perception import majority
from faircut.metrics import region_psnr, tem_con
from faircut.metrics.clip import ClipScorer
from faircut.pocket.captions import caption
from faircut.pocket.clips import Clip, render_clip
from faircut.pocket.edit_cases import GUIDANCE, KINDS, LOCAL, EditCase, edit_cases, method_for
from faircut.pocket.judge import Judge
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor
from faircut.pocket.scenes import sample_scene
from faircut.pocket.vocabulary import LABELS
from faircut.pocket.world import labels, render

__all__ = ["EditFigures", "judge_edit", "measure_edit", "measure_editing", "word_masks"]

_SEED = 20
_JUDGED = ("profession", "gender", "colour", "object", "background", "style")
_STEPS, _FRAMES = 20, 8
_FIXED_POINT = 0.1


@dataclasses.dataclass(frozen=True)
class EditFigures:
    """What one edit of a drawn clip measures.

    Args:
        shown: share of the frames in which the judge reads the target's attribute.
        reached: whether that is the majority.
        kept: whether the majority of frames shows every other attribute as it was.
        background_psnr: dB between edit and source where neither the old nor the new subject is; None for edits of the
            whole picture.
        tem_con_ratio: likeness of neighbouring frames (CLIP), as a share of the source clip's.
    """

    shown: float
    reached: bool
    kept: bool
    background_psnr: float | None
    tem_con_ratio: float


def judge_edit(judge: Judge, frames: Tensor, case: EditCase) -> tuple[bool, bool]:
    """Whether an edit reached its target and kept the rest.

    Args:
        judge: reads the attributes.
        frames: (frames, 3, height, width) in [0, 1], the edited clip.
        case: what was asked for.

    Returns:
        Whether the majority of frames shows the target's attribute, and whether it shows all others as in the source.
    """
    return _verdict(judge.read(frames), case)


def _verdict(read: dict[str, list[str]], case: EditCase) -> tuple[bool, bool]:
    """See judge_edit; of what the judge has read."""
    head = case.kind
    wanted, source = labels(case.target), labels(case.source)
    reached = majority(read[head]) == LABELS[head][wanted[head]]
    kept = all(
        majority(read[h]) == LABELS[h][source[h]]
        for h in _JUDGED
        if h != head and source[h] >= 0 and wanted[h] >= 0  # colours cannot be read in a colourless style
    )
    return reached, kept


def measure_edit(case: EditCase, clip: Clip, edited: Tensor, judge: Judge, scorer: ClipScorer) -> EditFigures:
    """Measure an edit of a drawn clip against what the world knows about it.

    Args:
        case: what was asked for.
        clip: its source, as many frames of it as were edited.
        edited: (frames, 3, height, width) in [0, 1].
        judge: reads the attributes.
        scorer: embeds the frames.

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
        # Where either the old or the new subject is: what an edit may change.
        region = clip.masks.any(1) | render_clip(case.target, len(edited)).masks.any(1)
        outside = region_psnr(edited, source, torch.from_numpy(~region))
    ratio = tem_con(scorer.images(edited)) / tem_con(scorer.images(source))
    return EditFigures(shown, reached, kept, outside, ratio)


@torch.no_grad()
def word_masks(editor: Any, scale: float) -> dict[str, tuple[float, int]]:
    """How well the subject's word finds the subject: IoU of its cross-attention with the true mask.

    The attention of the layers at half the latent grid, averaged over heads, layers and ten noise levels, is brought to
    the latent grid and cut at 0.3 of its maximum.

    Args:
        editor: a VideoEditor of the pocket model.
        scale: share of the full number of stills.

    Returns:
        Per kind of subject the mean IoU and the number of stills.
    """
    from faircut.pocket.train.denoiser import RecordingProcessor
    from faircut.pocket.train.tokenizer import span_tokens

    maps: list[Tensor] = []
    before = editor.unet.attn_processors
    editor.unet.set_attn_processor(RecordingProcessor(maps, plain=True))
    alphas = editor.scheduler.alphas_cumprod
    side = editor.unet.config.sample_size
    found = {}
    try:
        for kind in ("person", "vehicle", "animal"):
            rng = np.random.default_rng([_SEED, 1])
            n = max(8, int(64 * scale))
            people = 1 if kind == "person" else None
            scenes = [sample_scene(rng, split="held_out", kind=kind, people=people) for _ in range(n)]
            values = []
            for at in range(0, n, 8):
                part = scenes[at : at + 8]
                drawn = [render(s) for s in part]
                x = to_tensor(np.stack([f.image for f in drawn]))
                truth = torch.from_numpy(np.stack([f.masks[0] for f in drawn])).float()[:, None]
                truth = F.adaptive_avg_pool2d(truth, side)[:, 0] >= 0.5
                written = [caption(s) for s in part]
                batch = editor.tokenizer(
                    [c.text for c in written], padding="max_length", truncation=True, return_offsets_mapping=True
                )
                context = editor.text_encoder(torch.tensor(batch["input_ids"])).last_hidden_state
                z = editor.vae.encode(x).latent_dist.mean * editor.vae.config.scaling_factor
                total = torch.zeros(len(part), (side // 2) ** 2)
                for t in range(50, 1000, 100):
                    noise = torch.from_numpy(rng.standard_normal(z.shape, np.float32))
                    maps.clear()
                    editor.unet(alphas[t].sqrt() * z + (1 - alphas[t]).sqrt() * noise, t, context)
                    level = torch.stack([m for m in maps if m.shape[1] == (side // 2) ** 2]).mean(0)
                    for i, c in enumerate(written):
                        tokens = span_tokens(batch["offset_mapping"][i], c.subjects[0])
                        total[i] += level[i, :, tokens].sum(-1)
                seen = F.interpolate(total.view(-1, 1, side // 2, side // 2), (side, side), mode="bilinear")[:, 0]
                mask = seen > 0.3 * seen.amax((1, 2), keepdim=True)
                both, either = (mask & truth).sum((1, 2)), (mask | truth).sum((1, 2))
                values += (both / either.clamp_min(1)).tolist()
            found[f"mask_iou.{kind}"] = (float(np.mean(values)), n)
    finally:
        editor.unet.set_attn_processor(dict(before))
    return found


def measure_editing(
    folder: Path, judge: Judge, *, scale: float = 1.0, sheets: Path | None = None
) -> dict[str, tuple[float, int]]:
    """Measure reconstruction, word masks and the fixed list of edits.

    Args:
        folder: of the model.
        judge: reads the attributes.
        scale: share of the list, evenly over the kinds.
        sheets: folder for pictures of the edits: the source above, the edit below.

    Returns:
        Value and count of each figure, by its dotted name.
    """
    from faircut import VideoEditor

    editor = VideoEditor.from_pretrained(folder, dtype=torch.float32)
    editor.set_progress_bar_config(disable=True)
    scorer = ClipScorer.from_pretrained(folder / "clip")
    out = word_masks(editor, scale)
    rng = np.random.default_rng([_SEED, 2])
    clips = [render_clip(sample_scene(rng, split="held_out"), 4) for _ in range(max(2, int(8 * scale)))]
    for name, share in (("reconstruction_psnr", _FIXED_POINT), ("reconstruction_psnr_plain", 0.0)):
        quality: list[float] = []
        for clip in clips:
            inversion = editor.invert(
                to_tensor(clip.frames),
                clip.caption.text,
                num_inference_steps=50,
                fixed_point_steps=share,
                supplier="live",
            )
            quality.append(editor.reconstruct(inversion)[1].reconstruction_psnr or 0.0)
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
                inversion = editor.invert(frames, case.source_prompt, num_inference_steps=_STEPS)
                result = editor.edit(inversion, case.prompt, method_for(case), guidance_scale=GUIDANCE[kind])
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
