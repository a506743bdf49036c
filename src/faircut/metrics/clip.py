"""CLIP embeddings of frames and texts, with any CLIP that transformers can load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ClipScorer"]

_MODES = {0: "nearest", 2: "bilinear", 3: "bicubic"}


class ClipScorer:
    """A CLIP that embeds frames and texts.

    Args:
        model: A transformers ``CLIPModel``.
        tokenizer: Tokenizer of the model.
        processing: Settings of the image processor: ``size``, ``resample``, ``image_mean``, ``image_std``.
        name: Name of the CLIP in results.
        loaded: Loading report of transformers. Weights that the files lack are random numbers.
    """

    def __init__(
        self, model: Any, tokenizer: Any, processing: dict[str, Any], name: str, loaded: Mapping[str, Any] | None = None
    ) -> None:
        self.model, self.tokenizer, self.processing, self.name = model, tokenizer, processing, name
        self.loaded = loaded or {}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ClipScorer:
        """Load a CLIP.

        Args:
            folder: Folder in transformers' layout, or a name on the hub.

        Raises:
            OSError: If there is no such CLIP.
        """
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        pair: Any = CLIPModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        model, loaded = pair
        model.eval().requires_grad_(False)
        processing = CLIPImageProcessor.get_image_processor_dict(str(folder))[0]
        return cls(model, CLIPTokenizer.from_pretrained(folder), processing, str(folder), loaded)

    @torch.no_grad()
    def images(self, frames: Tensor, batch: int = 64) -> Tensor:
        """Embed frames, resized to the input size by the shorter side and cropped at the centre.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            batch: Number of frames at a time.

        Returns:
            (frame, channel), float32, of length 1.
        """
        side = self.model.config.vision_config.image_size
        mean, std = (torch.tensor(self.processing[k])[:, None, None] for k in ("image_mean", "image_std"))
        embeddings = []
        for part in frames.float().cpu().split(batch):
            height, width = part.shape[-2:]
            scale = side / min(height, width)
            size = max(side, round(height * scale)), max(side, round(width * scale))
            mode = _MODES.get(int(self.processing.get("resample", 3)), "bicubic")
            if size != (height, width):
                part = F.interpolate(part, size, mode=mode, antialias=mode != "nearest").clamp(0, 1)
            top, left = (size[0] - side) // 2, (size[1] - side) // 2
            pixels = (part[..., top : top + side, left : left + side] - mean) / std
            features = self.model.get_image_features(pixel_values=pixels.to(self.model.device))
            embeddings.append(F.normalize(_pooled(features).float().cpu(), dim=-1))
        return torch.cat(embeddings)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts.

        Args:
            texts: Texts; tokens beyond CLIP's length are cut off.

        Returns:
            (text, channel), float32, of length 1.
        """
        batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        features = self.model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return F.normalize(_pooled(features).float().cpu(), dim=-1)


def _pooled(output: Any) -> Tensor:
    """Return the embeddings of an output. Some versions of transformers return the tensor itself."""
    return output if isinstance(output, Tensor) else output.pooler_output
