"""The files of a tuning's folder: the facts that identify the tuning, and its last checkpoint.

There are no pickles, and every file is written atomically.
"""

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
    """Create a tuning's folder, or check that the tuning in it has the same facts.

    Args:
        folder: Folder of the tuning. It is created if it does not exist.
        facts: Values that the result depends on, by name, as JSON values.
        fresh: Whether to discard an existing tuning.

    Raises:
        ConfigError: If the folder contains other files, or a tuning with other facts.
    """
    notes = folder / _FACTS
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _is_tuning(folder))):
        raise ConfigError(f"{folder} already exists and is not a tuning's folder; choose another folder")
    if fresh and notes.is_file():
        for clip in (folder / "validation").glob("step-*.mp4"):
            if made_by_faircut(clip):
                clip.unlink()
        for name in (_INDEX, _CHECKPOINT, "log.jsonl", _FACTS):
            (folder / name).unlink(missing_ok=True)
    expected = {"format": _FORMAT, **facts}
    if not notes.is_file():
        _begin(notes, expected)
        return
    try:
        stored = read_json(notes, "the tuning's facts")
        if not isinstance(stored, dict):
            raise ConfigError("it is not a mapping")
    except ConfigError as error:
        # It is not known any more which clip the other files belong to, so they are neither used nor lost.
        set_aside(notes, error, *(folder / name for name in (_CHECKPOINT, "validation", "log.jsonl", _FINISHED)))
        _begin(notes, expected)
        return
    for name in {**expected, **stored}:
        if stored.get(name) != expected.get(name):
            difference = _NAMES.get(name, f"another {name}")
            raise ConfigError(
                f"{folder} contains a tuning with {difference} ({stored.get(name)!r}, not {expected.get(name)!r}); "
                "choose another folder, or begin again with fresh"
            )


def _is_tuning(folder: Path) -> bool:
    """Return whether a folder is a tuning, by the marker of its facts or, if they are damaged, by its checkpoint."""
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
    """A checkpoint file with the weights, the optimiser's moments and the step of a tuning.

    Args:
        folder: Folder of the tuning.
        parameters: Parameters that are trained, by name.
        adam: Optimiser of the parameters, in the same order.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, nn.Parameter], adam: torch.optim.Optimizer) -> None:
        self.path, self.parameters, self.adam = folder / _CHECKPOINT, parameters, adam

    def save(self, step: int, seconds: float) -> None:
        """Write the file atomically.

        Args:
            step: Number of steps done.
            seconds: Seconds that the steps took.
        """
        tensors = {}
        for name, parameter in self.parameters.items():
            state = self.adam.state[parameter]
            for kind, tensor in (("weight", parameter), *((m, state[m]) for m in _MOMENTS)):
                tensors[f"{kind}/{name}"] = tensor
        about = json.dumps({"format": _FORMAT, "step": step, "seconds": seconds})
        save_tensors(tensors, self.path, {"tuning": about})

    def load(self) -> tuple[int, float]:
        """Read the file, if it exists. A damaged file is renamed, and the tuning begins again.

        Returns:
            The number of steps done, and the seconds that they took.
        """
        if not os.path.lexists(self.path):
            return 0, 0.0
        try:
            step, seconds, tensors = self._read()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            set_aside(self.path, f"the tuning begins again: {error or type(error).__name__}")
            return 0, 0.0
        # Only after the whole file was read, so that a damaged file does not change the model.
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[f"weight/{name}"])
            moments = {m: tensors[f"{m}/{name}"].to(parameter.device) for m in _MOMENTS}
            self.adam.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        return step, seconds

    def _read(self) -> tuple[int, float, dict[str, torch.Tensor]]:
        """Return the step, the seconds and all tensors, after checking them."""
        if not self.path.is_file():
            raise ValueError("it is not a file")
        with safe_open(self.path, "pt") as file:
            about = parse_json((file.metadata() or {})["tuning"])
            step = convert(int, about["step"], "step")
            seconds = convert(float, about["seconds"], "seconds")
            if step < 0 or seconds < 0 or about["format"] != _FORMAT:
                raise ValueError(f"it has step {step}, {seconds} seconds and format {about['format']}")
            tensors = {}
            for name, parameter in self.parameters.items():
                for kind in ("weight", *_MOMENTS):
                    tensor = tensors[f"{kind}/{name}"] = file.get_tensor(f"{kind}/{name}")
                    if tensor.shape != parameter.shape or not tensor.isfinite().all():
                        raise ValueError(f"{kind}/{name} has another shape, or is not finite")
        return step, seconds, tensors


def published(folder: Path, step: int) -> bool:
    """Return whether the folder contains the model after a number of steps."""
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
    """Write the tuned model into the tuning's folder, so that `VideoEditor.from_pretrained` and diffusers can load it.

    Args:
        editor: The tuned editor.
        folder: Folder of the tuning.
        step: Number of steps done.
    """
    # The index is removed first, so that the folder is not a model while its parts are replaced.
    (folder / _INDEX).unlink(missing_ok=True)
    # Files are moved one by one, so that other files in these folders stay.
    with workspace(folder / "model") as staging:
        with writing_tensors(folder):
            editor.save_pretrained(staging)
        names = sorted(list_files(staging), key=lambda name: name == _INDEX)
        sizes = {name: (staging / name).stat().st_size for name in names}
        for name in names:
            if Path(os.path.realpath(folder)) not in Path(os.path.realpath(folder / name)).parents:
                raise ConfigError(f"{folder / name} leads out of the tuning's folder; replace the link by a folder")
            with atomic_path(folder / name) as path:
                (staging / name).rename(path)
    remove(folder / _FINISHED)  # A damaged file has no valid marker, and write_json would not replace it.
    write_json(folder / _FINISHED, {"step": step, "files": sizes})
