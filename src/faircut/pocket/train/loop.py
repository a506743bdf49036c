"""The training loop of all stages: data-parallel on a CPU, resumable bit for bit, limited by time or steps."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faircut.errors import ConfigError
from faircut.interrupts import stop_on_signals
from faircut.pocket.train.config import RunConfig
from faircut.pocket.train.state import Flat, Stage, State

__all__ = ["fit", "pick_device", "pick_processes", "pick_weighted", "step_rng"]

_BARRIER_SECONDS = 900.0


def step_rng(seed: int, stage: str, step: int, rank: int) -> np.random.Generator:
    """Return the random generator of one process for one step, so that a resumed run needs no stored random state.

    Args:
        seed: Seed of the run.
        stage: Name of the stage.
        step: Index of the step.
        rank: Index of the process.

    Returns:
        A new generator.
    """
    return np.random.default_rng([seed, int.from_bytes(stage.encode()[:4], "little"), step, rank])


def pick_weighted(chances: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw indices with given weights.

    Args:
        chances: Cumulative weights.
        rng: Random generator.
        n: Number of indices.

    Returns:
        (n,) indices, int64.
    """
    return np.searchsorted(chances, rng.random(n) * chances[-1])


def pick_device(run: RunConfig) -> torch.device:
    """Return the device to train on.

    Args:
        run: Settings of the run, whose ``device`` can be "auto".

    Returns:
        The device.

    Raises:
        ConfigError: If the device is not one of auto, cpu and cuda.
    """
    if run.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"run.device is {run.device!r}; give auto, cpu or cuda")
    if run.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(run.device)


def pick_processes(run: RunConfig, device: torch.device) -> int:
    """Return the number of processes that share the batch of a step.

    Args:
        run: Settings of the run, whose ``processes`` can be 0 for one per core.
        device: The device.

    Returns:
        At least 1; always 1 on CUDA.
    """
    if device.type == "cuda":
        return 1
    return run.processes or max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def _backward(stage: Stage, step: int, rank: int, world: int, precision: str) -> tuple[Tensor, dict[str, Any]]:
    device = next(stage.model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss, figures = stage.loss(step, rank, world)
    loss.backward()
    return loss.detach(), figures


def _follow(
    make: Callable[[], Stage], rank: int, world: int, threads: int, shared: dict[str, Any], run: RunConfig
) -> None:
    """Run all processes except the first: compute a share of each batch until told to stop."""
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
    """Train one stage, or resume it, until its steps or its minutes are used up.

    The learning rate falls at the end of the limit that comes first. With a limit in steps, stopping and resuming gives
    the same weights bit for bit; a limit in minutes depends on the clock.

    Args:
        make: Function that builds the stage; must be picklable if several processes share the work.
        run: Settings of device, precision, processes and times.
        folder: Folder of checkpoints, log and sample pictures.
        minutes: Time limit of this stage, counted over all its runs; None for no limit.
        log: Called with every line of the log.

    Returns:
        The stage, with the averaged weights in its model.
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
    state = State(stage, flat, folder, run, minutes)
    state.load()
    if world > 1:
        for rank in range(1, world):
            helper = context.Process(target=_follow, args=(make, rank, world, threads, shared, run), daemon=True)
            helper.start()
            helpers.append(helper)
    try:
        with stop_on_signals() as stop:
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


def _lead(
    stage: Stage,
    state: State,
    grads: Tensor,
    shared: dict[str, Any],
    world: int,
    stop: threading.Event,
    log: Callable[[dict[str, Any]], None] | None,
) -> None:
    """Run the training loop of the first process."""
    run, o = state.run, stage.optim
    clock = time.monotonic()
    saved = previewed = clock
    window: list[tuple[Tensor, dict[str, Any]]] = []
    previous_marks = (state.step, state.seconds)
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
            norm = state.update(grads, world)
            state.samples += o.batch
            now = time.monotonic()
            state.seconds = base + now - clock
            window.append((loss, figures))
            if state.step % run.log_every == 0:
                steps, seconds = state.step - previous_marks[0], max(1e-9, state.seconds - previous_marks[1])
                line = {
                    "done": round(state.used(), 4),
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
                window, previous_marks = [], (state.step, state.seconds)
            if now - previewed > run.preview_seconds:
                _tell(lines, {"step": state.step, "samples": state.samples, **state.preview()}, log)
                previewed = time.monotonic()
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
