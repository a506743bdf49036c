"""The training loop that all stages share: data-parallel on CPU, resumable bit for bit, limited by time or steps."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from faircut.errors import ConfigError, ModelError
from faircut.pocket.train.config import OptimConfig, RunConfig

__all__ = ["Flat", "Stage", "fit", "load_weights", "pick_device", "pick_processes", "step_rng"]

_FLOOR = 0.05
_BARRIER_SECONDS = 900.0


class Stage(Protocol):
    """One thing that is trained.

    Attributes:
        name: of its folder and log.
        model: holds every trained parameter.
        optim: how it is optimised.
    """

    name: str
    model: nn.Module
    optim: OptimConfig

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """The loss of one process's share of a step's batch, and figures for the log.

        Args:
            step: counts from 0; every random number follows from it.
            rank: this process.
            world: number of processes.

        Returns:
            A scalar to minimise, and figures, numbers or scalars on the device.
        """
        ...

    def preview(self, path: Path) -> dict[str, float]:
        """Write a sample picture with the weights that are in the model, and measure.

        Args:
            path: of the picture.

        Returns:
            Figures for the log.
        """
        ...


def step_rng(seed: int, stage: str, step: int, rank: int) -> np.random.Generator:
    """The source of every random number of one process in one step, so that nothing else must be kept to resume.

    Args:
        seed: of the run.
        stage: name of the stage.
        step: the step.
        rank: the process.

    Returns:
        A fresh generator.
    """
    return np.random.default_rng([seed, int.from_bytes(stage.encode()[:4], "little"), step, rank])


def pick_device(run: RunConfig) -> torch.device:
    """The device to train on.

    Args:
        run: its ``device`` may be "auto".

    Returns:
        The device.
    """
    if run.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"run.device must be auto, cpu or cuda, not {run.device!r}")
    if run.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(run.device)


def pick_processes(run: RunConfig, device: torch.device) -> int:
    """How many processes share a step's batch.

    Args:
        run: its ``processes`` may be 0.
        device: the device.

    Returns:
        At least 1; always 1 on CUDA.
    """
    if device.type == "cuda":
        return 1
    return run.processes or max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


class Flat:
    """All parameters of a model as one vector, so that averaging, clipping, Adam and EMA are one operation each."""

    def __init__(self, model: nn.Module, params: Tensor | None = None):
        """Move a model's parameters into one vector.

        Args:
            model: its parameters become views.
            params: the vector to live in, when another process has already filled it.
        """
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

    def attach(self, grads: Tensor) -> None:
        """Let the gradients accumulate in one vector.

        Args:
            grads: (parameters,) zeros.
        """
        for p, part in zip(self.tensors, self.slices, strict=True):
            p.grad = grads[part].view_as(p)


class _State:
    """What rank 0 alone keeps: the optimiser, the average, the counters, the log."""

    def __init__(self, stage: Stage, flat: Flat, folder: Path, run: RunConfig, minutes: float | None):
        self.stage, self.flat, self.folder, self.run = stage, flat, folder, run
        self.limit = math.inf if minutes is None else minutes * 60
        o = stage.optim
        self.vector = nn.Parameter(flat.params, requires_grad=True)
        fused = flat.params.device.type in ("cpu", "cuda")
        self.adam = torch.optim.AdamW(
            [self.vector], lr=o.lr, betas=(0.9, o.beta2), weight_decay=o.weight_decay, fused=fused
        )
        self.ema = flat.params.clone() if o.ema > 0 else None
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.path = folder / "checkpoint.safetensors"

    def rate(self) -> float:
        o = self.stage.optim
        used = max(self.step / max(1, o.steps), self.seconds / self.limit)
        warm = min(1.0, (self.step + 1) / max(1, o.warmup))
        fall = min(1.0, (1.0 - used) / o.decay) if o.decay > 0 else 1.0
        return o.lr * warm * max(_FLOOR, fall)

    def update(self, grads: Tensor) -> Tensor:
        """One step of the optimiser; returns the gradient's norm. Nothing here waits for a device."""
        o = self.stage.optim
        norm = torch.linalg.vector_norm(grads)
        grads.mul_((o.clip / norm.clamp_min(1e-12)).clamp(max=1.0)).nan_to_num_(0.0, 0.0, 0.0)
        self.vector.grad = grads
        self.adam.param_groups[0]["lr"] = self.rate()
        self.adam.step()
        self.vector.grad = None
        self.step += 1
        if self.ema is not None:
            keep = min(o.ema, (1 + self.step) / (10 + self.step))
            self.ema.lerp_(self.flat.params, 1 - keep)
        return norm

    def save(self) -> None:
        """Write the checkpoint under another name, then rename it over the old one."""
        tensors = {"params": self.flat.params}
        if self.ema is not None:
            tensors["ema"] = self.ema
        for key, value in self.adam.state.get(self.vector, {}).items():
            tensors[f"adam.{key}"] = value.reshape(1) if value.ndim == 0 else value
        about = {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, {"state": json.dumps(about)}
        )
        temporary.replace(self.path)

    def load(self) -> bool:
        """Go on where a checkpoint left off, if there is one."""
        if not self.path.exists():
            return False
        with safe_open(self.path, "pt") as file:
            about = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if tensors["params"].shape != self.flat.params.shape:
            raise ModelError(
                f"{self.path} is of another size of model: give another output folder, or the same settings"
            )
        self.flat.params.copy_(tensors["params"])
        if self.ema is not None:
            self.ema.copy_(tensors.get("ema", tensors["params"]))
        state = {k[5:]: v for k, v in tensors.items() if k.startswith("adam.")}
        if state:
            state["step"] = state["step"].reshape(())
            self.adam.state[self.vector] = {
                k: v.to(self.flat.params.device) if k != "step" or v.device != self.flat.params.device else v
                for k, v in state.items()
            }
        self.step, self.samples, self.seconds = about["step"], about["samples"], about["seconds"]
        return True

    def preview(self) -> dict[str, float]:
        """Measure and picture the averaged weights, then put the trained ones back."""
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


def load_weights(stage: Stage, folder: Path) -> dict[str, Any]:
    """Put a checkpoint's averaged weights into a stage's model.

    Args:
        stage: of the same settings as the checkpoint.
        folder: the stage's folder.

    Returns:
        The checkpoint's counters: step, samples, seconds.

    Raises:
        ModelError: there is no checkpoint, or it is of another size.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise ModelError(f"no checkpoint {path}: run the stage {stage.name!r} first")
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["state"])
        weights = file.get_tensor("ema" if "ema" in file.keys() else "params")  # noqa: SIM118
    flat = Flat(stage.model)
    if flat.params.shape != weights.shape:
        raise ModelError(f"{path} is of another size of model")
    flat.params.copy_(weights)
    stage.model.eval()
    return about


def _backward(stage: Stage, step: int, rank: int, world: int, precision: str) -> tuple[Tensor, dict[str, Any]]:
    device = next(stage.model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss, figures = stage.loss(step, rank, world)
    loss.backward()
    return loss.detach(), figures


def _follow(
    make: Callable[[], Stage], rank: int, world: int, threads: int, shared: dict[str, Any], run: RunConfig
) -> None:
    """What every process but the first does: its share of each batch, until told to stop."""
    torch.set_num_threads(threads)
    stage = make()
    stage.model.train()
    flat = Flat(stage.model, shared["params"])
    flat.attach(shared["grads"][rank])
    while True:
        shared["barrier"].wait(_BARRIER_SECONDS)
        step = int(shared["control"][0])
        if step < 0:
            return
        shared["grads"][rank].zero_()
        _backward(stage, step, rank, world, run.precision)
        shared["barrier"].wait(_BARRIER_SECONDS)


def fit(
    make: Callable[[], Stage],
    run: RunConfig,
    folder: Path,
    *,
    minutes: float | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
) -> Stage:
    """Train one stage, or go on training it, until its steps or its minutes are used up.

    The learning rate falls at the end of whichever limit comes first. With a limit in steps, stopping and resuming gives
    the same weights bit for bit; a limit in minutes depends on the clock.

    Args:
        make: builds the stage; must be picklable when several processes share the work.
        run: device, precision, processes, times.
        folder: of checkpoints, log and sample pictures.
        minutes: time for this stage, counted over all its runs; None for no limit.
        log: told every line of the log.

    Returns:
        The stage with its averaged weights in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = pick_device(run)
    world = pick_processes(run, device)
    stage = make()
    stage.model.train()
    flat = Flat(stage.model)
    size = flat.params.numel()
    helpers: list[Any] = []
    shared: dict[str, Any] = {}
    before = torch.get_num_threads()
    if world > 1:
        context = torch.multiprocessing.get_context("spawn")
        flat.params = flat.params.share_memory_()
        flat = Flat(stage.model, flat.params)
        shared = {
            "params": flat.params,
            "grads": torch.zeros(world, size).share_memory_(),
            "control": torch.zeros(1, dtype=torch.int64).share_memory_(),
            "barrier": context.Barrier(world),
        }
        threads = max(1, before // world)
        torch.set_num_threads(threads)
    grads = shared["grads"][0] if world > 1 else torch.zeros(size, device=device)
    flat.attach(grads)
    state = _State(stage, flat, folder, run, minutes)
    state.load()
    if world > 1:
        for rank in range(1, world):
            helper = context.Process(target=_follow, args=(make, rank, world, threads, shared, run), daemon=True)
            helper.start()
            helpers.append(helper)
    try:
        with _stop_on_signals() as stop:
            _lead(stage, state, grads, shared, world, stop, log)
    finally:
        if world > 1:
            shared["control"][0] = -1
            with contextlib.suppress(BrokenBarrierError):
                shared["barrier"].wait(30)
            for helper in helpers:
                helper.join(10)
                if helper.is_alive():
                    helper.terminate()
        torch.set_num_threads(before)
    if state.ema is not None:
        flat.params.copy_(state.ema)
    stage.model.eval()
    return stage


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that an interrupt or a termination sets: the step is finished and kept, then the training ends."""
    stop = threading.Event()
    before = {}

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lead(
    stage: Stage,
    state: _State,
    grads: Tensor,
    shared: dict[str, Any],
    world: int,
    stop: threading.Event,
    log: Callable[[dict[str, Any]], None] | None,
) -> None:
    """The loop of the first process."""
    run, o = state.run, stage.optim
    clock = time.monotonic()
    saved = pictured = clock
    window: list[tuple[Tensor, dict[str, Any]]] = []
    marks = (state.step, state.seconds)
    lines = open(state.folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115
    base = state.seconds
    try:
        while state.step < o.steps and state.seconds < state.limit and not stop.is_set():
            if world > 1:
                shared["control"][0] = state.step
                shared["barrier"].wait(_BARRIER_SECONDS)
            grads.zero_()
            loss, figures = _backward(stage, state.step, 0, world, run.precision)
            if world > 1:
                shared["barrier"].wait(_BARRIER_SECONDS)
                for other in range(1, world):
                    grads.add_(shared["grads"][other])
                grads.div_(world)
            norm = state.update(grads)
            state.samples += o.batch
            now = time.monotonic()
            state.seconds = base + now - clock
            window.append((loss, figures))
            if state.step % run.log_every == 0:
                steps, seconds = state.step - marks[0], max(1e-9, state.seconds - marks[1])
                line = {
                    "step": state.step,
                    "samples": state.samples,
                    "seconds": round(state.seconds, 1),
                    "loss": round(float(np.mean([float(w[0]) for w in window])), 6),
                    "lr": state.rate(),
                    "norm": round(float(norm), 4),
                    "per_second": round(steps * o.batch / seconds, 2),
                }
                line |= {k: round(float(np.mean([float(w[1][k]) for w in window])), 6) for k in figures}
                _tell(lines, line, log)
                window, marks = [], (state.step, state.seconds)
            if now - pictured > run.preview_seconds:
                _tell(lines, {"step": state.step, "samples": state.samples, **state.preview()}, log)
                pictured = time.monotonic()
            if now - saved > run.checkpoint_seconds:
                state.save()
                saved = time.monotonic()
        if base < state.seconds or state.step == 0:
            state.save()
        if stop.is_set():
            raise KeyboardInterrupt
        if base < state.seconds or state.step == 0:
            _tell(lines, {"step": state.step, "samples": state.samples, **state.preview()}, log)
    finally:
        lines.close()


def _tell(lines: Any, line: dict[str, Any], log: Callable[[dict[str, Any]], None] | None) -> None:
    lines.write(json.dumps(line) + "\n")
    lines.flush()
    if log is not None:
        log(line)
