"""Reading what is perceived with any CLIP, zero-shot."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.fairness.attributes import ATTRIBUTES, Attribute, Value
from faircut.fairness.perception import crop_to_boxes
from faircut.metrics.clip import ClipScorer
from faircut.model.scorer import scorer_fingerprint

__all__ = ["ClipReader"]


class ClipReader:
    """Compares the person in each frame with the probe texts of an attribute's values.

    Args:
        clip: embeds frames and texts.
        certainty: what the probability of the likeliest value must reach for the frame to count.
    """

    def __init__(self, clip: ClipScorer, certainty: float = 0.6) -> None:
        self.clip, self.certainty = clip, certainty

    def __call__(self, frames: torch.Tensor, boxes: torch.Tensor | None, attribute: Attribute) -> list[str | None]:
        """See `Reader`."""
        return self._tell(self._embed(frames, boxes), attribute)

    def looks(
        self, frames: torch.Tensor, boxes: torch.Tensor | None, professions: Sequence[str]
    ) -> dict[str, list[str | None]]:
        """Read profession and every known attribute from each frame; None where it is unclear.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4) of the person; None for the whole picture.
            professions: what may be read as a profession.
        """
        kinds = Attribute("profession", tuple(Value(p, p, (p,), p, f"a photo of a {p}") for p in professions))
        seen = self._embed(frames, boxes)
        return {attribute.name: self._tell(seen, attribute) for attribute in (kinds, *ATTRIBUTES.values())}

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Identify the CLIP by its weights, and what it chooses from."""
        return f"{scorer_fingerprint(self.clip)}-{self.certainty}-{','.join(professions)}"

    def _embed(self, frames: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        """Embed the person in each frame."""
        if boxes is not None:
            frames = crop_to_boxes(frames, boxes, self.clip.model.config.vision_config.image_size)
        return self.clip.images(frames)

    def _tell(self, seen: torch.Tensor, attribute: Attribute) -> list[str | None]:
        """Compare embedded frames with the probe texts of an attribute."""
        said = self.clip.texts([value.probe for value in attribute.values])
        scale = float(self.clip.model.logit_scale.exp())
        shares = (scale * seen @ said.T).softmax(-1)
        best = shares.max(-1)
        return [
            attribute.names[i] if p >= self.certainty else None
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
