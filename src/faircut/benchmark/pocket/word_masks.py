"""Measure how well the pocket model's words locate their subjects: cross-attention compared with the true masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from faircut.attention.stages import AttentionControl
from faircut.pocket.attention_maps import CrossAttentionMaps, one_evaluation
from faircut.pocket.captions import caption, span_tokens
from faircut.pocket.pictures import to_tensor
from faircut.pocket.scenes import sample_scene
from faircut.pocket.vocabulary import Scene
from faircut.pocket.world import render

__all__ = ["word_masks"]

_SEED = 20
_BATCH = 8


@torch.no_grad()
def word_masks(editor: Any, scale: float) -> dict[str, tuple[float, int]]:
    """Return how well the subject's word locates the subject: IoU of its cross-attention mask and the true mask.

    The attention of the layers at half the latent resolution, averaged over heads, layers and ten noise levels, is
    resized to the latent resolution and cut at 0.3 of its maximum.

    Args:
        editor: VideoEditor of the pocket model.
        scale: Fraction of the full number of stills.

    Returns:
        Mean IoU and number of stills, by kind of subject.
    """
    recorder, values = CrossAttentionMaps(), {}
    with editor.backbone.install([recorder], frames=1, clip_norm=False) as control:
        for kind in ("person", "vehicle", "animal"):
            rng = np.random.default_rng([_SEED, 1])
            count = max(8, int(64 * scale))
            people = 1 if kind == "person" else None
            scenes = [sample_scene(rng, split="held_out", kind=kind, people=people) for _ in range(count)]
            values[kind] = [
                value
                for at in range(0, count, _BATCH)
                for value in _overlaps(editor, control, recorder, scenes[at : at + _BATCH], rng)
            ]
    return {f"mask_iou.{kind}": (float(np.mean(overlaps)), len(overlaps)) for kind, overlaps in values.items()}


def _overlaps(
    editor: Any,
    control: AttentionControl,
    recorder: CrossAttentionMaps,
    scenes: Sequence[Scene],
    rng: np.random.Generator,
) -> list[float]:
    """Return for each scene the IoU of the cross-attention mask of its first subject's word and the true mask."""
    drawn = [render(scene) for scene in scenes]
    pictures = to_tensor(np.stack([still.image for still in drawn]))
    side = editor.unet.config.sample_size
    truth = torch.from_numpy(np.stack([still.masks[0] for still in drawn])).float()[:, None]
    truth = F.adaptive_avg_pool2d(truth, side)[:, 0] >= 0.5
    captions = [caption(scene) for scene in scenes]
    tokens = editor.tokenizer(
        [written_caption.text for written_caption in captions],
        padding="max_length",
        truncation=True,
        return_offsets_mapping=True,
    )
    text = editor.text_encoder(torch.tensor(tokens["input_ids"])).last_hidden_state
    z_0 = editor.vae.encode(pictures).latent_dist.mean * editor.vae.config.scaling_factor
    alphas = editor.scheduler.alphas_cumprod
    total = torch.zeros(len(scenes), (side // 2) ** 2)
    for t in range(50, 1000, 100):
        noise = torch.from_numpy(rng.standard_normal(z_0.shape, np.float32))
        control.begin(one_evaluation(z_0))
        editor.unet(alphas[t].sqrt() * z_0 + (1 - alphas[t]).sqrt() * noise, t, text)
        level = torch.stack([m for m in recorder.maps if m.shape[1] == (side // 2) ** 2]).mean(0)
        for index, written_caption in enumerate(captions):
            subject = span_tokens(tokens["offset_mapping"][index], written_caption.subjects[0])
            # Sum over the tokens of the subject's word; level is (picture, query, token).
            total[index] += level[index, :, subject].sum(-1)
    attention = F.interpolate(total.view(-1, 1, side // 2, side // 2), (side, side), mode="bilinear")[:, 0]
    mask = attention > 0.3 * attention.amax((1, 2), keepdim=True)
    both, either = (mask & truth).sum((1, 2)), (mask | truth).sum((1, 2))
    return (both / either.clamp_min(1)).tolist()
