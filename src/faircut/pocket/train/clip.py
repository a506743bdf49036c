"""Training of the small CLIP: captions, captions with one wrong fact, and single-attribute prompts."""

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
    """A stock CLIP of these settings, with random weights.

    Args:
        config: the settings.
        tokenizer: decides the vocabulary and the special tokens.

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


def _told(scene: Scene) -> Scene:
    """The scene with everything that can be said about it said."""
    subjects = []
    for s in scene.subjects:
        says = {"gender"} if s.kind == "person" else set()
        if scene.style not in COLOURLESS:
            says |= {"hair"} if s.kind == "person" else set()
            says |= {"colour"} if s.colour is not None else set()
        subjects.append(dataclasses.replace(s, mentions=frozenset(says)))
    return dataclasses.replace(scene, subjects=tuple(subjects))


def _other(rng: np.random.Generator, values: Sequence[Any], now: Any) -> Any:
    rest = [v for v in values if v != now]
    return rest[int(rng.integers(len(rest)))]


def _wrong(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with one fact that its captions tell made false."""
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
    """Trains the CLIP."""

    name = "clip"

    def __init__(self, config: TrainConfig, output: Path, init: Path | None = None):
        """Prepare the stage.

        Args:
            config: of the whole training.
            output: folder of the training: its ``data`` and ``tokenizer``.
            init: a model folder to start from.
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
        """See Stage."""
        n = self.optim.batch // world
        rng = step_rng(self.config.run.seed, self.name, step, rank)
        rows = rng.integers(len(self.stills), size=n)
        scenes = [self.stills.scene(int(i)) for i in rows]
        scenes = [_told(s) if rng.random() < 0.6 else s for s in scenes]
        texts = [caption(s, rng).text for s in scenes] + [caption(_wrong(s, rng), rng).text for s in scenes]
        ways = {head: [w[int(rng.integers(len(w)))] for w in PROMPTS[head]] for head in PROMPTS}
        flat = [prompt for head in PROMPTS for prompt in ways[head]]
        words = embed_texts(self.model, self.tokenizer, texts + flat)
        x = to_tensor(self.stills.images(rows), self.device)
        pictures = embed_images(self.model, x)
        scale = self.model.logit_scale.exp().clamp(max=100)
        told = scale * pictures @ words[: 2 * n].T
        diagonal = torch.arange(n, device=self.device)
        # Equal captions are no negatives of each other.
        same = torch.tensor([[a == b and i != j for j, b in enumerate(texts)] for i, a in enumerate(texts[:n])])
        told = told.masked_fill(same.to(self.device), -1e4)
        contrast = (F.cross_entropy(told, diagonal) + F.cross_entropy(told[:, :n].T, diagonal)) / 2
        single = torch.from_numpy(self.stills.boxes[rows, 1, 2] <= self.stills.boxes[rows, 1, 0])
        prompts, right, at = x.new_zeros(()), [], 2 * n
        for head in PROMPTS:
            k = len(PROMPTS[head])
            truth = torch.from_numpy(self.stills.labels[rows, 0, HEADS.index(head)].astype(np.int64))
            if head not in ("background", "style"):
                truth = torch.where(single, truth, torch.full_like(truth, -1))
            truth = truth.to(self.device)
            logits = scale * pictures @ words[at : at + k].T
            known = truth >= 0
            if known.any():
                prompts = prompts + F.cross_entropy(logits, truth, ignore_index=-1)
                right.append((logits.argmax(-1) == truth)[known].float().mean())
            at += k
        figures = {
            "contrast": contrast.detach(),
            "prompts": torch.stack(right).mean(),
            "wrong": (told.diagonal() > told[:, n:].diagonal()).float().mean(),
        }
        return contrast + self.config.clip.prompts * prompts / len(PROMPTS), figures

    def preview(self, path: Path) -> dict[str, float]:
        """See Stage."""
        contact_sheet(to_pixels(to_tensor(self.held_out.images(range(min(24, len(self.held_out)))))), 8, path)
        return zero_shot(self.model, self.tokenizer, self.held_out, range(min(512, len(self.held_out))))


@torch.no_grad()
def zero_shot(clip: Any, tokenizer: Any, stills: Stills, rows: range) -> dict[str, float]:
    """How often the nearest single-attribute prompt is the right one.

    Args:
        clip: a CLIPModel.
        tokenizer: its tokenizer.
        stills: of a split.
        rows: which of them; those with two people are left out.

    Returns:
        Share right per attribute, of the pictures where it applies.
    """
    device = clip.device
    single = [i for i in rows if stills.boxes[i, 1, 2] <= stills.boxes[i, 1, 0]]
    seen = torch.cat(
        [embed_images(clip, to_tensor(stills.images(single[at : at + 64]), device)) for at in range(0, len(single), 64)]
    )
    found = {}
    for head, ways in PROMPTS.items():
        said = (seen @ embed_texts(clip, tokenizer, [w[0] for w in ways]).T).argmax(-1).cpu().numpy()
        truth = stills.labels[single, 0, HEADS.index(head)]
        found[head] = round(float((said == truth)[truth >= 0].mean()), 4)
    return found
