"""Where checkpoints are, what makes one, and the parts of it that can be had without loading all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from faircut.errors import ModelError

__all__ = ["PARTS", "POCKET", "check_folder", "load_tokenizer", "locate", "pocket_folder"]

POCKET = "pocket"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def pocket_folder() -> Path:
    """Return where the pocket model's weights are."""
    return Path(__file__).parent / "pocket" / "weights"


def locate(model: str | Path) -> Path | None:
    """Find a checkpoint on this computer.

    Args:
        model: ``"pocket"``, a folder in diffusers' layout, or a name on the hub.

    Returns:
        Its folder, or None for a name on the hub.

    Raises:
        ModelError: the folder does not exist or holds no Stable Diffusion checkpoint.
    """
    path = pocket_folder() if str(model) == POCKET else Path(model).expanduser()
    if path.exists() or str(model) == POCKET or str(model).startswith((".", "/", "~")):
        check_folder(path)
        return path
    return None


def judge_folder(model: str | Path) -> Path | None:
    """Find the judge that comes with a pocket model; None for other models.

    Raises:
        ModelError: the folder does not exist or holds no Stable Diffusion checkpoint.
    """
    folder = locate(model)
    return folder / "judge" if folder is not None and (folder / "judge").is_dir() else None


def load_tokenizer(model: str | Path = POCKET) -> Any:
    """Load only the tokenizer of a checkpoint, which takes a moment where the whole takes seconds or minutes.

    Args:
        model: as `VideoEditor.from_pretrained` takes it.

    Returns:
        A fast ``CLIPTokenizer``.

    Raises:
        ModelError: there is no Stable Diffusion checkpoint at that place.
    """
    folder = locate(model)
    from transformers import CLIPTokenizer

    try:
        if folder is not None:
            return CLIPTokenizer.from_pretrained(folder / "tokenizer")
        return CLIPTokenizer.from_pretrained(str(model), subfolder="tokenizer")
    except Exception as error:
        # Files, formats and every kind of network trouble end here.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot load the tokenizer of {str(model)!r}: {first}; give 'pocket', a folder with model_index.json, or a "
            "name on the hub"
        ) from error


def check_folder(path: Path) -> None:
    """Check that a folder holds a Stable Diffusion checkpoint in diffusers' layout.

    Raises:
        ModelError: it does not; says what is missing.
    """
    path = path.expanduser()
    if path == pocket_folder() and not (path / "model_index.json").is_file():
        raise ModelError(
            "the pocket model's weights are not in this installation; give --model a Stable Diffusion folder or a name on "
            "the hub, or install faircut again"
        )
    if not path.exists():
        raise ModelError(f"there is no {path}; give 'pocket', a folder with model_index.json, or a name on the hub")
    index = path / "model_index.json"
    if not index.is_file():
        found = ", ".join(sorted(p.name for p in path.iterdir())[:6]) if path.is_dir() else "a file"
        raise ModelError(
            f"{path} is no Stable Diffusion folder: it has no model_index.json (it holds {found or 'nothing'}); give "
            "the folder that has unet, vae, text_encoder, tokenizer and scheduler in it"
        )
    try:
        parts = set(json.loads(index.read_text()))
    except ValueError as error:
        raise ModelError(f"{index} cannot be read ({error}); download the checkpoint again") from error
    missing = [part for part in PARTS if part not in parts]
    missing += [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise ModelError(
            f"{path} is no Stable Diffusion 1.x or 2.x folder: {', '.join(dict.fromkeys(missing))} missing; give one "
            "that has unet, vae, text_encoder, tokenizer and scheduler"
        )
