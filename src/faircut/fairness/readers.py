"""Zero-shot reading of attributes with any CLIP."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.fairness.attributes import ATTRIBUTES, Attribute, Value
from faircut.fairness.perception import crop_to_boxes
from faircut.metrics.clip import ClipScorer
from faircut.model.scorer import scorer_fingerprint

__all__ = ["ClipReader"]


class ClipReader:
    """Reads an attribute by comparing the person in each frame with one probe text per value.

    Args:
        clip: CLIP that embeds frames and texts.
        certainty: Minimum probability of the most likely value, 0 to 1. Below it a frame is unclear.
    """

    def __init__(self, clip: ClipScorer, certainty: float = 0.6) -> None:
        self.clip, self.certainty = clip, certainty

    def __call__(self, frames: torch.Tensor, boxes: torch.Tensor | None, attribute: Attribute) -> list[str | None]:
        """Read an attribute in each frame, as described in `Reader`."""
        return self._tell(self._embed(frames, boxes), attribute)

    def looks(
        self, frames: torch.Tensor, boxes: torch.Tensor | None, professions: Sequence[str]
    ) -> dict[str, list[str | None]]:
        """Read the profession and every known attribute in each frame.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4), left, top, right and bottom of the person in pixels. None for the whole picture.
            professions: Professions to choose from.

        Returns:
            By name of the attribute, the value in each frame, or None where it is unclear.
        """
        profession = Attribute("profession", tuple(Value(p, p, (p,), p, f"a photo of a {p}") for p in professions))
        images = self._embed(frames, boxes)
        return {attribute.name: self._tell(images, attribute) for attribute in (profession, *ATTRIBUTES.values())}

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Return a text that identifies the CLIP by its weights, together with its certainty and the professions."""
        return f"{scorer_fingerprint(self.clip)}-{self.certainty}-{','.join(professions)}"

    def _embed(self, frames: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        """Embed the person in each frame, (frame, channel)."""
        if boxes is not None:
            frames = crop_to_boxes(frames, boxes, self.clip.model.config.vision_config.image_size)
        return self.clip.images(frames)

    def _tell(self, images: torch.Tensor, attribute: Attribute) -> list[str | None]:
        """Compare embedded frames with the probe texts of an attribute."""
        probes = self.clip.texts([value.probe for value in attribute.values])
        scale = float(self.clip.model.logit_scale.exp())
        probabilities = (scale * images @ probes.T).softmax(-1)  # (frame, value)
        best = probabilities.max(-1)
        return [
            attribute.names[i] if p >= self.certainty else None
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
