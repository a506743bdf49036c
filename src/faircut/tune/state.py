"""What a tuning keeps in its folder: what it is of, and its last checkpoint; no pickles, nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from faircut.config.reading import parse_json, read_json, set_aside
from faircut.config.values import convert
from faircut.errors import ConfigError
from faircut.files import atomic_path, list_files, made_by_faircut, remove, workspace, write_json
from faircut.files.tensors import save_tensors, writing_tensors

__all__ = ["Checkpoint", "open_folder", "publish", "published"]

_FORMAT = 2
_FACTS, _CHECKPOINT, _INDEX, _FINISHED = "tune.json", "checkpoint.safetensors", "model_index.json", "finished.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_NAMES = {"model": "another model", "clip": "another clip", "prompt": "another prompt"}


def open_folder(folder: Path, facts: Mapping[str, Any], *, fresh: bool) -> None:
    """Begin a tuning's folder, or make sure that the tuning in it is the same.

    Args:
        folder: where; made if it is missing.
        facts: what the result depends on, by name, as JSON has it.
        fresh: throw away the tuning that is there.

    Raises:
        ConfigError: the folder holds something else, or a tuning of something else.
    """
    notes = folder / _FACTS
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _is_tuning(folder))):
        raise ConfigError(f"{folder} is there and holds no tuning; choose another folder")
    if fresh and notes.is_file():
        for clip in (folder / "validation").glob("step-*.mp4"):
            if made_by_faircut(clip):
                clip.unlink()
        for name in (_INDEX, _CHECKPOINT, "log.jsonl", _FACTS):
            (folder / name).unlink(missing_ok=True)
    wanted = {"format": _FORMAT, **facts}
    if not notes.is_file():
        _begin(notes, wanted)
        return
    try:
        known = read_json(notes, "the tuning's facts")
        if not isinstance(known, dict):
            raise ConfigError("it is no mapping")
    except ConfigError as error:
        # Nobody knows any more of which clip the rest is, so it is not gone on with, and not lost either.
        set_aside(notes, error, *(folder / name for name in (_CHECKPOINT, "validation", "log.jsonl", _FINISHED)))
        _begin(notes, wanted)
        return
    for name in {**wanted, **known}:
        if known.get(name) != wanted.get(name):
            what = _NAMES.get(name, f"another {name}")
            raise ConfigError(
                f"{folder} holds a tuning of {what} ({known.get(name)!r}, not {wanted.get(name)!r}); choose another "
                "folder, or begin again with fresh"
            )


def _is_tuning(folder: Path) -> bool:
    """Whether a folder is of a tuning of ours: its facts bear the mark, or, where they are damaged, its checkpoint
    does."""
    if made_by_faircut(folder / _FACTS):
        return True
    try:
        with safe_open(folder / _CHECKPOINT, "pt") as file:
            return (folder / _FACTS).is_file() and "tuning" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _begin(notes: Path, facts: Mapping[str, Any]) -> None:
    write_json(notes, facts)


class Checkpoint:
    """Weights, moments and the step of a tuning, in one file.

    Args:
        folder: of the tuning.
        parameters: what learns, by name.
        adam: its optimiser, with the parameters in the same order.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer) -> None:
        self.path, self.parameters, self.adam = folder / _CHECKPOINT, parameters, adam

    def save(self, step: int, seconds: float) -> None:
        """Write the file, whole or not at all.

        Args:
            step: how many steps are done.
            seconds: that they took.
        """
        tensors = {}
        for name, parameter in self.parameters.items():
            state = self.adam.state[parameter]
            for kind, tensor in (("weight", parameter), *((m, state[m]) for m in _MOMENTS)):
                tensors[f"{kind}/{name}"] = tensor
        about = json.dumps({"format": _FORMAT, "step": step, "seconds": seconds})
        save_tensors(tensors, self.path, {"tuning": about})

    def load(self) -> tuple[int, float]:
        """Read the file, if there is one; a damaged one is set aside, and the tuning begins again.

        Returns:
            The steps that are done, and the seconds that they took.
        """
        if not os.path.lexists(self.path):
            return 0, 0.0
        try:
            step, seconds, tensors = self._read()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            set_aside(self.path, f"the tuning begins again: {error or type(error).__name__}")
            return 0, 0.0
        # Only now, so that no half of a damaged file reaches the model.
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[f"weight/{name}"])
            moments = {m: tensors[f"{m}/{name}"].to(parameter.device) for m in _MOMENTS}
            self.adam.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        return step, seconds

    def _read(self) -> tuple[int, float, dict[str, torch.Tensor]]:
        """Read and check the step, the seconds and all tensors."""
        if not self.path.is_file():
            raise ValueError("it is no file")
        with safe_open(self.path, "pt") as file:
            about = parse_json((file.metadata() or {})["tuning"])
            step = convert(int, about["step"], "step")
            seconds = convert(float, about["seconds"], "seconds")
            if step < 0 or seconds < 0 or about["format"] != _FORMAT:
                raise ValueError(f"it is of step {step}, {seconds} seconds and format {about['format']}")
            tensors = {}
            for name, parameter in self.parameters.items():
                for kind in ("weight", *_MOMENTS):
                    tensor = tensors[f"{kind}/{name}"] = file.get_tensor(f"{kind}/{name}")
                    if tensor.shape != parameter.shape or not tensor.isfinite().all():
                        raise ValueError(f"{kind}/{name} is of another shape, or not finite")
        return step, seconds, tensors


def published(folder: Path, step: int) -> bool:
    """Whether the model of so many steps is in the folder."""
    done = folder / _FINISHED
    if not (folder / _INDEX).is_file() or not os.path.lexists(done):
        return False
    try:
        facts = read_json(done, "what was finished")
        if not isinstance(facts, dict) or not isinstance(facts.get("files"), dict):
            raise ConfigError("it does not list the model's files")
        sizes = {name: path.stat().st_size for name in facts["files"] if (path := folder / name).is_file()}
        return bool(facts["step"] == step and sizes == facts["files"])
    except (ConfigError, KeyError) as error:
        set_aside(done, error)
        return False


def publish(editor: Any, folder: Path, step: int) -> None:
    """Write the tuned model beside its tuning: a folder that `VideoEditor.from_pretrained` and diffusers load.

    Args:
        editor: the tuned editor.
        folder: of the tuning.
        step: how many steps are done.
    """
    # Without its index the folder is no model while parts of it are exchanged.
    (folder / _INDEX).unlink(missing_ok=True)
    # File by file, so that whatever else is in these folders stays.
    with workspace(folder / "model") as staging:
        with writing_tensors(folder):
            editor.save_pretrained(staging)
        names = sorted(list_files(staging), key=lambda name: name == _INDEX)
        sizes = {name: (staging / name).stat().st_size for name in names}
        for name in names:
            if Path(os.path.realpath(folder)) not in Path(os.path.realpath(folder / name)).parents:
                raise ConfigError(
                    f"{folder / name} leads out of the folder of the tuning; put a folder in the link's place"
                )
            with atomic_path(folder / name) as path:
                (staging / name).rename(path)
    remove(folder / _FINISHED)  # One that is damaged is no longer known to be ours.
    write_json(folder / _FINISHED, {"step": step, "files": sizes})
