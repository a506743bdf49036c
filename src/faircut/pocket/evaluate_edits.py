"""The figures of the pocket model that need the editor: inversion, word masks, and a fixed list of FateZero edits."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
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
from faircut.pocket.judge import Judge
from faircut.pocket.scenes import sample_scene
from faircut.pocket.train.pictures import contact_sheet, to_pixels, to_tensor
from faircut.pocket.vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURLESS,
    COLOURS,
    LABELS,
    PROFESSIONS,
    STYLES,
    VEHICLES,
    Scene,
)
from faircut.pocket.world import labels, render

__all__ = [
    "GUIDANCE",
    "KINDS",
    "EditCase",
    "EditFigures",
    "edit_cases",
    "fatezero_for",
    "judge_edit",
    "make_case",
    "measure_edit",
    "measure_editing",
    "method_for",
    "with_subject",
    "word_masks",
]

KINDS: dict[str, int] = {"colour": 14, "object": 14, "profession": 14, "background": 12, "style": 12}
"""Kinds of edits and how many of each the fixed list holds."""
LOCAL = ("colour", "object", "profession")
_SEED = 20
_OUTDOORS = tuple(b for b in BACKGROUNDS if b not in ("hospital", "office", "kitchen", "lake"))
_JUDGED = ("profession", "gender", "colour", "object", "background", "style")
GUIDANCE = {"colour": 5.0, "object": 4.0, "profession": 4.0, "background": 4.0, "style": 4.5}
"""Guidance scales that suit the pocket model's edits: at 7.5 its colours burn out."""
_STEPS, _FRAMES = 20, 8
_FIXED_POINT, _STYLE_WEIGHT = 0.1, 1.5


@dataclasses.dataclass(frozen=True)
class EditCase:
    """One edit of the fixed list.

    Args:
        kind: one of KINDS.
        source: the scene that is drawn.
        target: the scene that the edited clip should show.
        source_prompt: its caption.
        prompt: the target's caption.
        blend_words: (source noun, target noun), or None for an edit of the whole picture.
    """

    kind: str
    source: Scene
    target: Scene
    source_prompt: str
    prompt: str
    blend_words: tuple[str, str] | None


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


def make_case(kind: str, source: Scene, target: Scene) -> EditCase:
    """An edit of one drawn scene to another.

    Args:
        kind: one of KINDS.
        source: the scene that is drawn.
        target: the same but for one attribute.

    Returns:
        The case, with the canonical captions as prompts.
    """
    a, b = caption(source), caption(target)
    nouns = tuple(c.text[slice(*c.subjects[0])] for c in (a, b))
    blend = (nouns[0], nouns[1]) if kind in LOCAL else None
    return EditCase(kind, source, target, a.text, b.text, blend)


def with_subject(scene: Scene, **changes: Any) -> Scene:
    """A scene with its only subject changed.

    Args:
        scene: the scene.
        changes: fields of its subject.

    Returns:
        The other scene.
    """
    return dataclasses.replace(scene, subjects=(dataclasses.replace(scene.subjects[0], **changes),))


def edit_cases() -> list[EditCase]:
    """The fixed list of edits, all on held-out scenes.

    Returns:
        The cases, kind by kind.
    """
    rng = np.random.default_rng(_SEED)
    things = (*VEHICLES, *ANIMALS)
    cases = []

    def scene(**forced: Any) -> Scene:
        return sample_scene(rng, split="held_out", style=None, **forced)

    def add(kind: str, source: Scene, target: Scene) -> None:
        cases.append(make_case(kind, source, target))

    for i in range(KINDS["colour"]):
        noun, before, after = things[i % len(things)], COLOURS[i % len(COLOURS)], COLOURS[(3 * i + 2) % len(COLOURS)]
        after = COLOURS[(3 * i + 3) % len(COLOURS)] if after == before else after
        source = scene(noun=noun, background=_OUTDOORS[i % len(_OUTDOORS)], colour=before, mention_colour=True)
        add("colour", source, with_subject(source, colour=after))
    for i in range(KINDS["object"]):
        group = (VEHICLES[:4], ANIMALS)[i % 2]  # cars to trucks: trains and boats leave their element
        noun, other = group[(i // 2) % len(group)], group[(i // 2 + 1 + i // 8) % len(group)]
        place = _OUTDOORS[(i + 1) % len(_OUTDOORS)]
        source = scene(noun=noun, background=place, colour=COLOURS[(i + 2) % len(COLOURS)], mention_colour=True)
        add("object", source, with_subject(source, noun=other))
    for i in range(KINDS["profession"]):
        noun, other = PROFESSIONS[i % 12], PROFESSIONS[(i + 5) % 12]
        gender = ("woman", "man")[i % 2]
        source = scene(
            noun=noun, people=1, background=BACKGROUNDS[i % 10], gender=gender, mention_gender=True, mention_hair=False
        )
        add("profession", source, with_subject(source, noun=other))
    for i in range(KINDS["background"]):
        before, after = BACKGROUNDS[i % 10], BACKGROUNDS[(i + 3) % 10]
        if i % 2:
            noun = PROFESSIONS[(5 * i) % 12]
            forced: dict[str, Any] = {"people": 1, "mention_gender": True, "mention_hair": False}
        else:
            noun, forced = things[(i // 2) % len(things)], {"mention_colour": True}
            before, after = _OUTDOORS[i % len(_OUTDOORS)], _OUTDOORS[(i + 1 + i // 6) % len(_OUTDOORS)]
        source = scene(noun=noun, background=before, **forced)
        add("background", source, dataclasses.replace(source, background=after))
    for i in range(KINDS["style"]):
        style = STYLES[i % len(STYLES)]
        if i % 2:
            forced = {"noun": PROFESSIONS[(7 * i) % 12], "people": 1, "mention_gender": True, "mention_hair": False}
        else:
            mention = style not in COLOURLESS
            forced = {"noun": things[(5 * i) % len(things)], "mention_colour": mention}
        source = scene(background=_OUTDOORS[i % len(_OUTDOORS)], **forced)
        add("style", source, dataclasses.replace(source, style=style))
    return cases


def method_for(case: EditCase) -> Any:
    """FateZero with the options that suit a kind of edit.

    Args:
        case: the edit.

    Returns:
        A FateZero.
    """
    return fatezero_for(case.kind, case.blend_words, str(case.target.style).split() if case.kind == "style" else ())


def fatezero_for(kind: str, blend_words: Any, style_words: Sequence[str] = ()) -> Any:
    """FateZero with the options that suit a kind of edit.

    Args:
        kind: one of KINDS; any other is edited like a colour.
        blend_words: (source words, target words) of the subject; None to edit everywhere.
        style_words: the words of the prompt that say how the whole picture shall look.

    Returns:
        A FateZero.
    """
    from faircut.methods import FateZero

    local: dict[str, Any] = {}
    if blend_words is not None:
        local = {"blend_words": blend_words, "latent_blend_steps": 1.0}
    if kind == "object":
        # Another shape: the region must be free to follow its own structure, and no wider than it has to be.
        return FateZero(cross_replace_steps=0.2, self_replace_steps=0.3, blend_threshold=0.5, **local)
    if kind == "profession":
        return FateZero(cross_replace_steps=0.4, self_replace_steps=0.6, blend_self_attention=False, **local)
    if kind == "background":
        return FateZero(cross_replace_steps=0.5, self_replace_steps=0.3, **local)
    if kind == "style":
        # What the whole picture shall look like must be heard over the words of what is in it.
        reweight = dict.fromkeys(style_words, _STYLE_WEIGHT)
        return FateZero(cross_replace_steps=0.4, self_replace_steps=0.4, reweight=reweight, **local)
    # The old shape with new looks, as with professions: self-attention of its own would only redraw what is around it.
    return FateZero(blend_self_attention=False, **local)


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
