"""What a tuning keeps in its folder: what it is of, and its last checkpoint; no pickles, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from faircut.errors import ConfigError, ModelError
from faircut.files import atomic_path, is_ours, list_files, workspace

__all__ = ["Checkpoint", "open_folder", "publish", "published"]

_FORMAT = 2
_FACTS, _CHECKPOINT, _INDEX = "tune.json", "checkpoint.safetensors", "model_index.json"
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
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not notes.is_file())):
        raise ConfigError(f"{folder} is there and holds no tuning; choose another folder")
    if fresh and notes.is_file():
        for clip in (folder / "validation").glob("step-*.mp4"):
            if is_ours(clip):
                clip.unlink()
        for name in (_INDEX, _CHECKPOINT, "log.jsonl", _FACTS):
            (folder / name).unlink(missing_ok=True)
    wanted = {"format": _FORMAT, **facts}
    if not notes.is_file():
        with atomic_path(notes) as path:
            path.write_text(json.dumps(wanted, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    try:
        known = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{notes} cannot be read ({error}); begin again with fresh, or in another folder") from None
    for name in {**wanted, **known}:
        if known.get(name) != wanted.get(name):
            what = _NAMES.get(name, f"another {name}")
            raise ConfigError(
                f"{folder} holds a tuning of {what} ({known.get(name)!r}, not {wanted.get(name)!r}); choose another folder, "
                "or begin again with fresh"
            )


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
                tensors[f"{kind}/{name}"] = tensor.detach().cpu().contiguous()
        about = json.dumps({"format": _FORMAT, "step": step, "seconds": seconds})
        with atomic_path(self.path) as path:
            save_file(tensors, path, {"tuning": about})

    def load(self) -> tuple[int, float]:
        """Read the file, if there is one.

        Returns:
            The steps that are done, and the seconds that they took.

        Raises:
            ModelError: it cannot be read.
        """
        if not self.path.is_file():
            return 0, 0.0
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads(file.metadata()["tuning"])
                for name, parameter in self.parameters.items():
                    parameter.data.copy_(file.get_tensor(f"weight/{name}"))
                    moments = {m: file.get_tensor(f"{m}/{name}").to(parameter.device) for m in _MOMENTS}
                    self.adam.state[parameter] = {"step": torch.tensor(float(about["step"])), **moments}
            return about["step"], about["seconds"]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{self.path} cannot be read ({error}); begin again with fresh") from None


def published(folder: Path, step: int) -> bool:
    """Whether the model of so many steps is in the folder."""
    done = folder / "finished.json"
    return (folder / _INDEX).is_file() and done.is_file() and json.loads(done.read_text()) == {"step": step}


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
        editor.save_pretrained(staging)
        for name in sorted(list_files(staging), key=lambda name: name == _INDEX):
            with atomic_path(folder / name) as path:
                (staging / name).rename(path)
    with atomic_path(folder / "finished.json") as path:
        path.write_text(json.dumps({"step": step}) + "\n")
