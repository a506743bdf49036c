"""Train the small CLIP on captions, captions with one wrong fact, and single-attribute prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faircut.pocket.captions import caption
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor
from faircut.pocket.train.config import ClipConfig, TrainConfig
from faircut.pocket.train.data import HEADS, Stills
from faircut.pocket.train.loop import pick_device, step_rng
from faircut.pocket.train.tokenizer import load_tokenizer
from faircut.pocket.vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURLESS,
    COLOURS,
    GENDERS,
    LABELS,
    PROFESSIONS,
    STYLES,
    VEHICLES,
    Scene,
)
from faircut.pocket.zero_shot import PROMPTS, embed_images, embed_texts

__all__ = ["ClipStage", "build_clip", "zero_shot"]


def build_clip(config: ClipConfig, tokenizer: Any) -> Any:
    """Build a standard CLIP with random weights.

    Args:
        config: Settings of the CLIP.
        tokenizer: Tokenizer that defines the vocabulary and the special tokens.

    Returns:
        A transformers CLIPModel.
    """
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "image_size": config.image_size,
        "patch_size": config.patch,
    }
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.embed, attn_implementation="eager")  # type: ignore[call-arg]
    )


def _mention_all(scene: Scene) -> Scene:
    """Return a scene whose captions mention every attribute that they can mention."""
    subjects = []
    for s in scene.subjects:
        mentions = {"gender"} if s.kind == "person" else set()
        if scene.style not in COLOURLESS:
            mentions |= {"hair"} if s.kind == "person" else set()
            mentions |= {"colour"} if s.colour is not None else set()
        subjects.append(dataclasses.replace(s, mentions=frozenset(mentions)))
    return dataclasses.replace(scene, subjects=tuple(subjects))


def _other(rng: np.random.Generator, values: Sequence[Any], current: Any) -> Any:
    others = [v for v in values if v != current]
    return others[int(rng.integers(len(others)))]


def _make_wrong(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene in which one fact that its captions mention is changed."""
    k = int(rng.integers(len(scene.subjects)))
    s = scene.subjects[k]
    facts = ["background", "noun", "noun", *s.mentions, *(["gender"] if "gender" in s.mentions else [])]
    facts += ["style"] if scene.style else []
    fact = facts[int(rng.integers(len(facts)))]
    if fact == "background":
        return dataclasses.replace(scene, background=_other(rng, BACKGROUNDS, scene.background))
    if fact == "style":
        return dataclasses.replace(scene, style=_other(rng, STYLES, scene.style))
    if fact == "noun":
        group = next(g for g in ((*PROFESSIONS, "person"), VEHICLES, ANIMALS) if s.noun in g)
        changed = dataclasses.replace(s, noun=_other(rng, group, s.noun))
    else:
        values = {"gender": GENDERS, "hair": LABELS["hair"], "colour": COLOURS}[fact]
        changed = dataclasses.replace(s, **{fact: _other(rng, values, getattr(s, fact))})
    subjects = list(scene.subjects)
    subjects[k] = changed
    return dataclasses.replace(scene, subjects=tuple(subjects))


class ClipStage:
    """The stage that trains the CLIP."""

    name = "clip"

    def __init__(self, config: TrainConfig, output: Path, init: Path | None = None):
        """Prepare the stage.

        Args:
            config: Settings of the whole training.
            output: Folder of the training, with ``data`` and ``tokenizer``.
            init: Model folder to start from. None for random weights.
        """
        self.config, self.optim = config, config.clip.optim
        self.rates: dict[str, float] = {}
        torch.manual_seed(config.run.seed)
        self.device = pick_device(config.run)
        self.tokenizer = load_tokenizer(output / "tokenizer")
        clip = build_clip(config.clip, self.tokenizer)
        if init is not None:
            from transformers import CLIPModel

            clip.load_state_dict(CLIPModel.from_pretrained(init / "clip").float().state_dict())
        self.model: Any = clip.to(self.device)
        self.stills = Stills(output / "data", "train", config.data)
        self.held_out = Stills(output / "data", "held_out", config.data)

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Stage`."""
        n = self.optim.batch // world
        rng = step_rng(self.config.run.seed, self.name, step, rank)
        rows = rng.integers(len(self.stills), size=n)
        scenes = [self.stills.scene(int(i)) for i in rows]
        scenes = [_mention_all(s) if rng.random() < 0.6 else s for s in scenes]
        texts = [caption(s, rng).text for s in scenes] + [caption(_make_wrong(s, rng), rng).text for s in scenes]
        templates = {head: [w[int(rng.integers(len(w)))] for w in PROMPTS[head]] for head in PROMPTS}
        flat = [prompt for head in PROMPTS for prompt in templates[head]]
        words = embed_texts(self.model, self.tokenizer, texts + flat)
        x = to_tensor(self.stills.images(rows), self.device)
        pictures = embed_images(self.model, x)
        scale = self.model.logit_scale.exp().clamp(max=100)
        caption_logits = scale * pictures @ words[: 2 * n].T
        diagonal = torch.arange(n, device=self.device)
        # Equal captions are not negatives of each other.
        is_duplicate = torch.tensor([[a == b and i != j for j, b in enumerate(texts)] for i, a in enumerate(texts[:n])])
        caption_logits = caption_logits.masked_fill(is_duplicate.to(self.device), -1e4)
        contrast = (F.cross_entropy(caption_logits, diagonal) + F.cross_entropy(caption_logits[:, :n].T, diagonal)) / 2
        single = torch.from_numpy(self.stills.boxes[rows, 1, 2] <= self.stills.boxes[rows, 1, 0])
        prompts, right, at = x.new_zeros(()), [], 2 * n
        for head in PROMPTS:
            k = len(PROMPTS[head])
            truth = torch.from_numpy(self.stills.labels[rows, 0, HEADS.index(head)].astype(np.int64))
            if head not in ("background", "style"):
                truth = torch.where(single, truth, torch.full_like(truth, -1))
            truth = truth.to(self.device)
            logits = scale * pictures @ words[at : at + k].T
            applies = truth >= 0
            if applies.any():
                prompts = prompts + F.cross_entropy(logits, truth, ignore_index=-1)
                right.append((logits.argmax(-1) == truth)[applies].float().mean())
            at += k
        figures = {
            "contrast": contrast.detach(),
            "prompts": torch.stack(right).mean(),
            "wrong": (caption_logits.diagonal() > caption_logits[:, n:].diagonal()).float().mean(),
        }
        return contrast + self.config.clip.prompts * prompts / len(PROMPTS), figures

    def preview(self, path: Path) -> dict[str, float]:
        """See `Stage`."""
        contact_sheet(to_pixels(to_tensor(self.held_out.images(range(min(24, len(self.held_out)))))), 8, path)
        return zero_shot(self.model, self.tokenizer, self.held_out, range(min(512, len(self.held_out))))


@torch.no_grad()
def zero_shot(clip: Any, tokenizer: Any, stills: Stills, rows: range) -> dict[str, float]:
    """Measure how often the nearest single-attribute prompt is correct.

    Args:
        clip: A CLIPModel.
        tokenizer: Tokenizer of the CLIP.
        stills: Stills of a split.
        rows: Indices of the stills to use. Stills with two people are left out.

    Returns:
        Accuracy by attribute, over the pictures to which the attribute applies.
    """
    device = clip.device
    single = [i for i in rows if stills.boxes[i, 1, 2] <= stills.boxes[i, 1, 0]]
    embeddings = torch.cat(
        [embed_images(clip, to_tensor(stills.images(single[at : at + 64]), device)) for at in range(0, len(single), 64)]
    )
    accuracy = {}
    for head, templates in PROMPTS.items():
        predicted = (embeddings @ embed_texts(clip, tokenizer, [w[0] for w in templates]).T).argmax(-1).cpu().numpy()
        truth = stills.labels[single, 0, HEADS.index(head)]
        accuracy[head] = round(float((predicted == truth)[truth >= 0].mean()), 4)
    return accuracy
