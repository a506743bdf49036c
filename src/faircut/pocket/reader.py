"""The judge as a reader of perceived attributes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.fairness.attributes import ATTRIBUTES, Attribute
from faircut.model.fingerprint import fingerprint
from faircut.pocket.judge import UNCLEAR, Judge

__all__ = ["PocketReader"]


class PocketReader:
    """Reads gender and hair from pictures of the drawn world.

    Args:
        judge: the judge.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __call__(self, frames: torch.Tensor, boxes: torch.Tensor | None, attribute: Attribute) -> list[str | None]:
        """See `faircut.fairness.perception.Reader`."""
        return [attribute.judged(name) for name in self.judge.read(frames, boxes)[attribute.name]]

    def looks(
        self, frames: torch.Tensor, boxes: torch.Tensor | None, professions: Sequence[str]
    ) -> dict[str, list[str | None]]:
        """Read profession and every known attribute from each frame; None where it is unclear.

        Args:
            frames: (frame, 3, height, width), RGB in [0, 1].
            boxes: (frame, 4) of the person; None for the whole picture.
            professions: not asked for: the judge knows those of its world.
        """
        read = self.judge.read(frames, boxes)
        kinds = [None if name == UNCLEAR else name for name in read["profession"]]
        known = {name: [a.judged(label) for label in read[name]] for name, a in ATTRIBUTES.items()}
        return {"profession": kinds, **known}

    def fingerprint(self, professions: Sequence[str]) -> str:
        """Identify the judge by its weights; it knows all professions of its world, whichever are asked for."""
        return fingerprint(self.judge)
