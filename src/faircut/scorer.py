"""Loading the CLIP that measures: the pocket model's, or any other."""

from __future__ import annotations

from pathlib import Path

from faircut.checkpoints import POCKET, pocket_folder
from faircut.errors import ModelError
from faircut.fingerprint import fingerprint
from faircut.metrics.clip import ClipScorer

__all__ = ["load_clip_scorer", "scorer_fingerprint"]


def load_clip_scorer(name: str) -> ClipScorer:
    """Load a CLIP to measure with.

    Args:
        name: a CLIP's folder or name on the hub; ``"auto"`` or ``"pocket"`` is the pocket model's.

    Returns:
        The CLIP; the pocket model's is called ``"pocket"``.

    Raises:
        ModelError: there is none.
    """
    try:
        if name in ("auto", POCKET):
            scorer = ClipScorer.from_pretrained(pocket_folder() / "clip")
            return ClipScorer(scorer.model, scorer.tokenizer, scorer.processing, POCKET)
        if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
            raise OSError("there is no such folder")
        return ClipScorer.from_pretrained(str(Path(name).expanduser()))
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"cannot load {name!r} as a CLIP: {first}; give the folder of a CLIP, a name on the hub, or auto for the pocket "
            "model's"
        ) from error


def scorer_fingerprint(scorer: ClipScorer) -> str:
    """Identify a CLIP by all that decides what it measures: weights, tokenizer, and how pictures are made ready for it."""
    return fingerprint(scorer.model, scorer.tokenizer, scorer.processing)
