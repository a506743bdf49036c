"""Loading the CLIP model that the metrics use: the pocket model's, or any other."""

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
    """Load a CLIP model to measure with.

    Args:
        name: Folder or hub name of a CLIP model. ``"auto"`` and ``"pocket"`` stand for the pocket model's.

    Returns:
        The scorer. That of the pocket model is named ``"pocket"``.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    pocket = name in ("auto", POCKET)
    try:
        source: Path | str = pocket_folder() / "clip" if pocket else _resolve(name)
        if isinstance(source, Path):
            _check_clip_folder(source)
        scorer = ClipScorer.from_pretrained(source)
        check_complete(scorer.loaded, name)
        check_tokenizer(scorer.tokenizer, name)
        return ClipScorer(scorer.model, scorer.tokenizer, scorer.processing, POCKET if pocket else name)
    except Exception as error:
        # The libraries raise many types here: missing files, wrong formats and values, network errors.
        raise ModelError(
            f"cannot load {name!r} as a CLIP model: {first_line(error)}; give the folder of a CLIP model, a name on "
            "the hub, or auto for the pocket model's"
        ) from error


def _resolve(name: str) -> Path | str:
    """Return the path of a folder on this computer, or the name of a model on the hub.

    Raises:
        OSError: If the name is empty, or a path that is not an existing folder.
        ModelError: If the name is not valid on the hub, or cannot be fetched offline.
    """
    if not name.strip() or not name.isprintable():
        raise OSError("it is not a valid name")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise OSError("it is a file, not a folder")
    if name.startswith((".", "/", "~")):
        raise OSError("the folder does not exist")
    check_hub_name(name, "give a folder")
    return name


def _check_clip_folder(folder: Path) -> None:
    """Check the folder of a CLIP model before it is loaded.

    Raises:
        ModelError: If the folder does not contain a complete CLIP model.
    """
    config = read_json(folder / "config.json")
    check_numbers(folder / "config.json", config)
    if config.get("model_type") != "clip":
        raise ModelError(
            f"{folder / 'config.json'} has the model_type {str(config.get('model_type'))[:60]!r}, not 'clip'"
        )
    for file in weight_files(folder, "model"):
        check_weights(file)
    settings = read_json(folder / "preprocessor_config.json")
    for key in ("image_mean", "image_std"):
        values = settings.get(key)
        if not (isinstance(values, list) and len(values) == 3 and all(type(x) in (int, float) for x in values)):
            raise ModelError(f"{folder / 'preprocessor_config.json'} does not give three numbers for {key!r}")
    if not all(settings["image_std"]) or not isinstance(settings.get("resample", 3), int):
        raise ModelError(
            f"{folder / 'preprocessor_config.json'} has a zero in image_std, or a resample that is not a number"
        )


def scorer_fingerprint(scorer: ClipScorer) -> str:
    """Return a fingerprint of a CLIP model's weights, tokenizer and preprocessing, which decide what it measures."""
    return fingerprint(scorer.model, scorer.tokenizer, scorer.processing)
