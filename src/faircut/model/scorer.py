"""Loading the CLIP that measures: the pocket model's, or any other."""

from __future__ import annotations

from pathlib import Path

from faircut.errors import ModelError
from faircut.metrics.clip import ClipScorer
from faircut.model.checkpoints import (
    POCKET,
    check_hub_name,
    check_numbers,
    check_tokenizer,
    check_weights,
    first_line,
    pocket_folder,
    read_json,
    weight_files,
)
from faircut.model.fingerprint import fingerprint
from faircut.model.loading import check_complete

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
    pocket = name in ("auto", POCKET)
    try:
        place: Path | str = pocket_folder() / "clip" if pocket else _place(name)
        if isinstance(place, Path):
            _check_clip_folder(place)
        scorer = ClipScorer.from_pretrained(place)
        check_complete(scorer.loaded, name)
        check_tokenizer(scorer.tokenizer, name)
        return ClipScorer(scorer.model, scorer.tokenizer, scorer.processing, POCKET if pocket else name)
    except Exception as error:
        # Files, formats, values and every kind of network trouble end here.
        raise ModelError(
            f"cannot load {name!r} as a CLIP: {first_line(error)}; give the folder of a CLIP, a name on the hub, or "
            "auto for the pocket model's"
        ) from error


def _place(name: str) -> Path | str:
    """Return a folder on this computer, or the name as one on the hub.

    Raises:
        OSError, ModelError: it can be neither.
    """
    if not name.strip() or not name.isprintable():
        raise OSError("that is no name of a CLIP")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise OSError("it is a file, and a CLIP is a folder")
    if name.startswith((".", "/", "~")):
        raise OSError("there is no such folder")
    check_hub_name(name, "give a folder")
    return name


def _check_clip_folder(folder: Path) -> None:
    """Check what can be known of a CLIP's folder before it is loaded.

    Raises:
        ModelError: it holds no CLIP, or not all of it.
    """
    config = read_json(folder / "config.json")
    check_numbers(folder / "config.json", config)
    if config.get("model_type") != "clip":
        raise ModelError(
            f"{folder / 'config.json'} is of a {str(config.get('model_type'))[:60]!r} model, not of a clip"
        )
    for file in weight_files(folder, "model"):
        check_weights(file)
    settings = read_json(folder / "preprocessor_config.json")
    for key in ("image_mean", "image_std"):
        three = settings.get(key)
        if not (isinstance(three, list) and len(three) == 3 and all(type(x) in (int, float) for x in three)):
            raise ModelError(f"{folder / 'preprocessor_config.json'} says no three numbers for {key!r}")
    if not all(settings["image_std"]) or not isinstance(settings.get("resample", 3), int):
        raise ModelError(
            f"{folder / 'preprocessor_config.json'} has a zero in image_std, or a resample that is no number"
        )


def scorer_fingerprint(scorer: ClipScorer) -> str:
    """Identify a CLIP by all that decides what it measures: weights, tokenizer, and how pictures are made ready for
    it."""
    return fingerprint(scorer.model, scorer.tokenizer, scorer.processing)
