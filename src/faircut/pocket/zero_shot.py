"""Zero-shot classification with the small CLIP: the prompts of each class, and normalised embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from faircut.pocket.captions import PLACES
from faircut.pocket.vocabulary import BACKGROUNDS, COLOURS, LABELS, STYLES

__all__ = ["PROMPTS", "embed_images", "embed_texts"]


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


PROMPTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "profession": tuple((_a(p), f"a photo of {_a(p)}", p) for p in LABELS["profession"]),
    "gender": (
        ("a woman", "a female person", "a photo of a woman", "female"),
        ("a man", "a male person", "a photo of a man", "male"),
    ),
    "colour": tuple((c, f"in {c}", f"{c} colour") for c in COLOURS),
    "object": tuple((_a(o), f"a photo of {_a(o)}", o) for o in LABELS["object"]),
    "background": tuple((PLACES[b], f"a photo {PLACES[b]}", f"a scene {PLACES[b]}") for b in BACKGROUNDS),
    "style": (
        ("a colour photo", "a photo", "a colour photo of a scene"),
        *((_a(s), f"{_a(s)} of a scene", s) for s in STYLES),
    ),
}
"""Prompts for each class of each attribute, in the order of `LABELS`. Zero-shot classification uses the first."""


def shrink(pictures: Tensor, size: int) -> Tensor:
    """Resize pictures to the input size of a CLIP.

    Args:
        pictures: (pictures, 3, height, width) in [-1, 1].
        size: Height and width in pixels.

    Returns:
        (pictures, 3, size, size).
    """
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)


def embed_images(clip: Any, pictures: Tensor) -> Tensor:
    """Return the normalised embeddings of pictures.

    Args:
        clip: A CLIPModel.
        pictures: (pictures, 3, height, width) in [-1, 1].

    Returns:
        (pictures, embed), of length 1.
    """
    resized = shrink(pictures, clip.config.vision_config.image_size)
    return F.normalize(clip.get_image_features(pixel_values=resized).pooler_output.float(), dim=-1)


def embed_texts(clip: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return the normalised embeddings of texts.

    Args:
        clip: A CLIPModel.
        tokenizer: Tokenizer of the CLIP.
        texts: Texts to embed.

    Returns:
        (texts, embed), of length 1.
    """
    batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(clip.device)
    out = clip.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).pooler_output
    return F.normalize(out.float(), dim=-1)
