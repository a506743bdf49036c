"""Loading the classifier that reads perceived attributes: the judge of a pocket model, or a CLIP."""

from __future__ import annotations

from pathlib import Path

from faircut.fairness.perception import Reader
from faircut.model.checkpoints import judge_folder

__all__ = ["load_reader"]


def load_reader(name: str, model: str | Path) -> Reader | None:
    """Load what reads the perceived attributes of people.

    Args:
        name: a CLIP's folder or name; or ``"auto"``: the judge that comes with a pocket model, and no reader for any
            other model.
        model: of the edit.

    Returns:
        The reader; None if there is none.

    Raises:
        ModelError: If the place holds no CLIP model.
    """
    if name == "auto":
        folder = judge_folder(model)
        if folder is None:
            return None
        from faircut.pocket.judge import load_judge
        from faircut.pocket.reader import PocketReader

        return PocketReader(load_judge(folder))
    from faircut.fairness.readers import ClipReader
    from faircut.model.scorer import load_clip_scorer

    return ClipReader(load_clip_scorer(name))
