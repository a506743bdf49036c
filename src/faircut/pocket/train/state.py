"""The state of a training: parameters as one vector, the optimiser, the average, the counters, the checkpoint."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from faircut.config.reading import parse_json, set_aside
from faircut.config.values import convert
from faircut.errors import ModelError
from faircut.pocket.train.config import OptimConfig, RunConfig

__all__ = ["Flat", "Stage", "State", "load_weights"]

_FLOOR = 0.05
_EMA_EVERY = 2  # The average costs a pass over memory, and every second step is as good.


class Trained(Protocol):
    """A model with the name of its stage."""

    name: str
    model: nn.Module


class Stage(Trained, Protocol):
    """A stage of the training.

    Attributes:
        name: Name of its folder and log.
        model: Module with all trained parameters.
        optim: Settings of the optimiser.
        rates: Learning rates of parts of the model, as a share of the stage's, by prefix of the parameters' names.
    """

    optim: OptimConfig
    rates: dict[str, float]

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss of one process's share of a step's batch, and figures for the log.

        Args:
            step: Index of the step, from 0, which decides all random numbers.
            rank: Index of this process.
            world: Number of processes.

        Returns:
            A scalar to minimise, and figures: numbers or scalars on the device.
        """
        ...

    def preview(self, path: Path) -> dict[str, float]:
        """Write a sample picture with the current weights, and measure them.

        Args:
            path: Path of the picture.

        Returns:
            Figures for the log.
        """
        ...


class Flat:
    """The parameters of a model as one vector, so that averaging, clipping, Adam and EMA take one operation each."""

    def __init__(self, model: nn.Module, params: Tensor | None = None):
        """Move a model's parameters into one vector.

        Args:
            model: Model whose parameters become views of the vector.
            params: Vector to use, already filled by another process. None for a new one.
        """
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.tensors = [p for p in model.parameters() if p.requires_grad]
        size = sum(p.numel() for p in self.tensors)
        fill = params is None
        device = self.tensors[0].device
        self.params = torch.empty(size, device=device) if params is None else params
        at = 0
        self.slices = []
        for p in self.tensors:
            part = self.params[at : at + p.numel()]
            if fill:
                part.copy_(p.data.reshape(-1))
            self.slices.append(slice(at, at + p.numel()))
            p.data = part.view_as(p)
            at += p.numel()

    def groups(self, rates: dict[str, float]) -> list[tuple[slice, float]]:
        """Return slices of the vector with equal learning rates.

        Args:
            rates: Shares of the learning rate by prefix of the parameters' names; 1 for all others.

        Returns:
            Slices in order, with their shares.
        """
        groups: list[tuple[slice, float]] = []
        for name, part in zip(self.names, self.slices, strict=True):
            rate = next((r for start, r in rates.items() if name.startswith(start)), 1.0)
            if groups and groups[-1][1] == rate:
                part = slice(groups.pop()[0].start, part.stop)
            groups.append((part, rate))
        return groups

    def attach(self, grads: Tensor) -> None:
        """Make the gradients accumulate in one vector.

        Args:
            grads: (parameters,) zeros.
        """
        for p, part in zip(self.tensors, self.slices, strict=True):
            p.grad = grads[part].view_as(p)


class State:
    """The state that only rank 0 has: the optimiser, the average, the counters and the checkpoint."""

    def __init__(self, stage: Stage, flat: Flat, folder: Path, run: RunConfig, minutes: float | None):
        self.stage, self.flat, self.folder, self.run = stage, flat, folder, run
        self.limit = math.inf if minutes is None else minutes * 60
        o = stage.optim
        self.groups = flat.groups(stage.rates)
        self.vectors = [nn.Parameter(flat.params[part], requires_grad=True) for part, _ in self.groups]
        fused = flat.params.device.type in ("cpu", "cuda")
        self.adam = torch.optim.AdamW(
            [{"params": [v]} for v in self.vectors],
            lr=o.lr,
            betas=(0.9, o.beta2),
            weight_decay=o.weight_decay,
            fused=fused,
        )
        self.ema = flat.params.clone() if o.ema > 0 else None
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.path = folder / "checkpoint.safetensors"

    def used(self) -> float:
        """Return the used share of the stage's steps or time, 0 to 1."""
        return min(1.0, max(self.step / max(1, self.stage.optim.steps), self.seconds / self.limit))

    def rate(self) -> float:
        """Return the learning rate of the next step: warm-up, constant, then decay at the end of steps or time."""
        o = self.stage.optim
        warm = min(1.0, (self.step + 1) / max(1, o.warmup))
        fall = min(1.0, (1.0 - self.used()) / o.decay) if o.decay > 0 else 1.0
        return o.lr * warm * max(_FLOOR, fall)

    def update(self, grads: Tensor, world: int = 1) -> Tensor:
        """Make one step of the optimiser with the sum of ``world`` gradients; return the norm of their mean."""
        o = self.stage.optim
        norm = torch.linalg.vector_norm(grads) / world
        scale = (o.clip / norm.clamp_min(1e-12)).clamp(max=1.0) / world
        # One pass over the vector, without waiting for the device to report whether the gradient is finite.
        grads.mul_(torch.where(norm.isfinite(), scale, torch.zeros_like(scale)))
        if grads.device.type != "cpu" or not norm.isfinite():
            grads.nan_to_num_(0.0, 0.0, 0.0)
        for vector, group, (part, share) in zip(self.vectors, self.adam.param_groups, self.groups, strict=True):
            vector.grad = grads[part]
            group["lr"] = self.rate() * share
        self.adam.step()
        self.adam.zero_grad()
        self.step += 1
        if self.ema is not None and self.step % _EMA_EVERY == 0:
            keep = min(o.ema, (1 + self.step) / (10 + self.step)) ** _EMA_EVERY
            self.ema.lerp_(self.flat.params, 1 - keep)
        return norm

    def save(self) -> None:
        """Write the checkpoint in one atomic step: to a temporary file, which then replaces the old one."""
        tensors = {"params": self.flat.params}
        if self.ema is not None:
            tensors["ema"] = self.ema
        for i, vector in enumerate(self.vectors):
            for key, value in self.adam.state.get(vector, {}).items():
                tensors[f"adam.{i}.{key}"] = value.reshape(1) if value.ndim == 0 else value
        about = {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, {"state": json.dumps(about)}
        )
        temporary.replace(self.path)

    def load(self) -> bool:
        """Load the checkpoint if it exists, and return whether it was loaded."""
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                about = _about(file)
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if "params" not in tensors:
                raise ValueError("it contains no weights")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            set_aside(self.path, f"the stage starts from the beginning: {error or type(error).__name__}")
            return False
        if tensors["params"].shape != self.flat.params.shape:
            raise ModelError(
                f"{self.path} is for a model of another size; give another output folder, or the same settings"
            )
        self.flat.params.copy_(tensors["params"])
        if self.ema is not None:
            self.ema.copy_(tensors.get("ema", tensors["params"]))
        device = self.flat.params.device
        for i, vector in enumerate(self.vectors):
            start = f"adam.{i}."
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            if state:
                step = state.pop("step").reshape(())
                self.adam.state[vector] = {"step": step.to(device), **{k: v.to(device) for k, v in state.items()}}
        self.step, self.samples, self.seconds = about["step"], about["samples"], about["seconds"]
        return True

    def preview(self) -> dict[str, float]:
        """Write a sample picture with the averaged weights and measure them, then restore the trained weights."""
        live = self.flat.params.clone()
        if self.ema is not None:
            self.flat.params.copy_(self.ema)
        self.stage.model.eval()
        try:
            with torch.no_grad():
                return self.stage.preview(self.folder / f"preview-{self.step:07d}.png")
        finally:
            self.flat.params.copy_(live)
            self.stage.model.train()


def load_weights(stage: Trained, folder: Path) -> dict[str, Any]:
    """Load the averaged weights of a checkpoint into the model of a stage.

    Args:
        stage: Stage with the settings of the checkpoint.
        folder: Folder of the stage.

    Returns:
        The checkpoint's counters: step, samples, seconds.

    Raises:
        ModelError: If there is no checkpoint, it cannot be read, or its model has another size.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise ModelError(f"there is no checkpoint {path}; run the stage {stage.name!r} first")
    try:
        with safe_open(path, "pt") as file:
            about = _about(file)
            weights = file.get_tensor("ema" if "ema" in file.keys() else "params")  # noqa: SIM118
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read ({error}); run the stage {stage.name!r} again") from None
    flat = Flat(stage.model)
    if flat.params.shape != weights.shape:
        raise ModelError(f"{path} is for a model of another size; give the settings of its training")
    flat.params.copy_(weights)
    stage.model.eval()
    return about


def _about(file: Any) -> dict[str, Any]:
    """Read a checkpoint's counters.

    Raises:
        ValueError, KeyError, TypeError: If they are missing or have wrong types.
    """
    about = parse_json((file.metadata() or {})["state"])
    kinds = {"step": int, "samples": int, "seconds": float}
    return {name: convert(kind, about[name], name) for name, kind in kinds.items()}
