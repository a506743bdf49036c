"""A reader of perceived attributes that uses the judge."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.fairness.attributes import ATTRIBUTES, Attribute
from faircut.model.fingerprint import fingerprint
from faircut.pocket.judge import UNCLEAR, Judge

__all__ = ["PocketReader"]


class PocketReader:
    """A reader of gender and hair in pictures of the drawn world.

    Args:
        judge: The judge that reads them.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __call__(self, frames: torch.Tensor, boxes: torch.Tensor | None, attribute: Attribute) -> list[str | None]:
        """See `faircut.fairness.perception.Reader`."""
        return [attribute.judged(name) for name in self.judge.read(frames, boxes)[attribute.name]]

    def looks(
        self, frames: torch.Tensor, boxes: torch.Tensor | None, professions: Sequence[str]
    ) -> dict[str, list[str | None]]:
        """Read the profession and every known attribute from each frame; None where a value is unclear.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4) left, top, right and bottom of the person in pixels; None for the whole frame.
            professions: Not used, because the judge has fixed classes.
        """
        read = self.judge.read(frames, boxes)
        kinds = [None if name == UNCLEAR else name for name in read["profession"]]
        values_of_attribute = {name: [a.judged(label) for label in read[name]] for name, a in ATTRIBUTES.items()}
        return {"profession": kinds, **values_of_attribute}

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Return a fingerprint of the judge's weights. Professions do not matter, because its classes are fixed."""
        return fingerprint(self.judge)
