"""How long an edit will take and how much memory it needs, in each supplier mode, before it is run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import psutil
import torch

from faircut.config.values import SpatialTemporal
from faircut.edit.editor import VideoEditor
from faircut.edit.footprint import Footprint, LiveBytes, Shadow, evaluate, footprint
from faircut.edit.preflight import check_method, check_prompts
from faircut.edit.progress import Progress, Silent
from faircut.edit.request import RunSettings, parse_device
from faircut.edit.run import read_clip
from faircut.edit.session import Session
from faircut.methods.base import Cost, Method
from faircut.model.latents import vae_factor
from faircut.prompts import Prompt
from faircut.report import PeakMemory
from faircut.video import Video

__all__ = ["ModePlan", "Plan", "Probe", "make_plan", "plan", "probe"]

Mode = Literal["live", "memory", "disk"]
MODES: tuple[Mode, ...] = ("live", "memory", "disk")

# Of a live evaluation of the source only the layers up to the last fused one run.
_SOURCE_SHARE = 0.85
# What drawing and encoding the results holds, in clips of float32 pictures, side-by-side included.
_WRITING = 8.5
# A disk that writes once and reads once, bytes a second.
_DISK = 300e6
# What glibc and oneDNN keep besides live tensors, as `benchmarks/plan_accuracy.py` finds it where nothing was measured.
_OVERHEAD = 1.45
# Probing with the whole clip is exact, but should not itself take long.
_PROBE_SECONDS = 4.0


@dataclass(frozen=True)
class Probe:
    """What was measured of a model on this computer, at the size of the clip.

    Attributes:
        frames: with how many frames.
        unet_seconds: of one evaluation for that many frames.
        encode_seconds: of the VAE's encoder, a frame.
        decode_seconds: of its decoder, a frame.
        base_rss_bytes: resident memory with everything loaded, at rest.
        weights_bytes: allocated on the GPU with everything loaded; 0 without one.
        overhead: how much more memory an evaluation took than its tensors count.
        gradient_seconds: of one evaluation with a backward pass for that many frames; 0 where none is needed.
    """

    frames: int
    unet_seconds: float
    encode_seconds: float
    decode_seconds: float
    base_rss_bytes: int
    weights_bytes: int
    overhead: float
    gradient_seconds: float = 0.0


@dataclass(frozen=True)
class ModePlan:
    """What an edit needs in one supplier mode.

    Attributes:
        supplier: the mode.
        seconds: wall time of the whole run, loading included.
        ram_bytes: peak resident memory of the process.
        gpu_bytes: peak memory allocated on the GPU; None without one.
        disk_bytes: on disk while it runs.
        fits: whether this computer has as much.
    """

    supplier: Mode
    seconds: float
    ram_bytes: int
    gpu_bytes: int | None
    disk_bytes: int
    fits: bool


@dataclass(frozen=True)
class Plan:
    """The modes, and what they were computed from.

    Attributes:
        frames: of the clip.
        height: in pixels.
        width: in pixels.
        steps: N.
        device: the torch device.
        modes: one for each supplier.
        chosen: the supplier that the run's settings lead to.
        ram_available: bytes that this process may still grow to.
        gpu_available: Bytes that may still be allocated on the GPU; None without one.
        cost: what the edit evaluates.
        footprint: the counted parts.
        probe: the measured parts.
    """

    frames: int
    height: int
    width: int
    steps: int
    device: str
    modes: tuple[ModePlan, ...]
    chosen: Mode
    ram_available: int
    gpu_available: int | None
    cost: Cost
    footprint: Footprint
    probe: Probe


def plan(settings: RunSettings, progress: Progress | None = None, *, session: Session | None = None) -> Plan:
    """Predict time and memory of an edit, for each place that the source's attention can come from.

    The clip is read and the model loaded; nothing is inverted or edited.

    Args:
        settings: of the run.
        progress: shows how far it is.
        session: holds the model that the settings name, loaded already; by default it is loaded, and its seconds count.

    Raises:
        FaircutError: something that was given cannot be used; an edit with these settings would say the same.
    """
    progress = progress or Silent()
    method = settings.build_method()
    check_method(settings, method)
    parse_device(settings.device, settings.dtype)
    with progress.stage("Reading"):
        video = read_clip(settings)
        check_prompts(settings, method)
    started = time.perf_counter()
    if session is None:
        with progress.stage("Loading the model"):
            session = Session.of(settings, [settings.request(method=method)])
    seconds = time.perf_counter() - started
    with progress.stage("Measuring"):
        prompts = session.editor.tokenize(settings.source_prompt), session.editor.tokenize(settings.prompt)
        return make_plan(session.editor, video, settings, method, prompts, seconds)


def make_plan(
    editor: VideoEditor,
    video: Video,
    settings: RunSettings,
    method: Method,
    prompts: tuple[Prompt, Prompt],
    load_seconds: float = 0.0,
) -> Plan:
    """Predict an edit of a clip that was read, with a model that is loaded.

    Args:
        editor: the loaded model, on its device.
        video: the clip.
        settings: of the run.
        method: the editing method.
        prompts: source and target.
        load_seconds: that loading the model took.

    Returns:
        The plan.
    """
    frames, size, steps = len(video), video.size, settings.num_inference_steps
    temporal = settings.request(method=method).seen(editor.spatial_temporal)
    method = method.costliest(prompts[1])
    shadow = Shadow(editor.unet, editor.vae)
    factor = vae_factor(editor.vae)
    grid = (-(-size[0] // factor), -(-size[1] // factor))
    task = shadow.task(frames, grid, steps, temporal, prompts, editor.tokenize)
    cost = method.cost(task, method.controllers(task))
    if settings.save_masks or settings.save_attention:
        cost = replace(cost, source_steps=tuple(range(cost.first, steps)))
    guided = settings.guidance_scale != 1.0
    counted = {
        live: footprint(
            shadow,
            frames,
            size,
            steps,
            temporal,
            method,
            prompts,
            tokenize=editor.tokenize,
            live=live,
            guided=guided,
        )
        for live in (True, False)
    }
    measured = probe(editor, shadow, frames, size, temporal, backward=cost.gradients > 0)
    device = editor.execution_device
    on_gpu = device.type == "cuda"
    ram = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    gpu = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) if on_gpu else None
    modes = []
    for mode in MODES:
        part = counted[mode == "live"]
        seconds = load_seconds + _seconds(measured, part, settings, frames, cost, mode)
        ram_bytes = _ram(measured, part, settings, frames, size, mode, on_gpu)
        gpu_bytes = _gpu(measured, part) if on_gpu else None
        fits = ram_bytes <= ram and (gpu_bytes is None or gpu is None or gpu_bytes <= gpu)
        modes.append(ModePlan(mode, seconds, ram_bytes, gpu_bytes, part.recorded if mode == "disk" else 0, fits))
    chosen = editor.choose_supplier(settings.supplier, video.frames, steps, settings.memory_budget)
    return Plan(
        frames,
        size[0],
        size[1],
        steps,
        str(device),
        tuple(modes),
        chosen,
        ram,
        gpu,
        cost,
        counted[chosen == "live"],
        measured,
    )


def probe(
    editor: VideoEditor,
    shadow: Shadow,
    frames: int,
    size: tuple[int, int],
    temporal: SpatialTemporal,
    *,
    backward: bool = False,
) -> Probe:
    """Measure a model on this computer: a small evaluation to wake it up, then one at the size of the clip.

    Args:
        editor: the loaded model.
        shadow: the same without data.
        frames: of the clip.
        size: (height, width) of the clip.
        temporal: how the frames see each other.
        backward: measure an evaluation with a backward pass, too.
    """
    factor = vae_factor(editor.vae)
    grid = (-(-size[0] // factor), -(-size[1] // factor))
    device = editor.execution_device

    def unet(count: int, at: tuple[int, int], backward: bool = False) -> Callable[[], Any]:
        return lambda: evaluate(editor.unet, ("source",), count, at, temporal, backward=backward)

    def decode(at: tuple[int, int]) -> Callable[[], Any]:
        z = torch.zeros(1, editor.vae.config.latent_channels, *at, dtype=editor.vae.dtype, device=device)
        return lambda: editor.vae.decode(z).sample

    def encode(at: tuple[int, int]) -> Callable[[], Any]:
        pictures = torch.zeros(1, 3, at[0] * factor, at[1] * factor, dtype=editor.vae.dtype, device=device)
        return lambda: editor.vae.encode(pictures).latent_dist.mode()

    with torch.no_grad():
        small = (min(8, grid[0]), min(8, grid[1]))
        for work in (unet(2, small), encode(small), decode(small)):
            _timed(work, device)
        base = psutil.Process().memory_info().rss
        weights = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        one, _ = _timed(unet(1, grid), device)
        count = max(1, min(frames, int(_PROBE_SECONDS / max(one, 1e-6))))
        seconds, grown = _timed(unet(count, grid), device)
        with LiveBytes() as counter:
            counted = counter.peak_of(lambda: evaluate(shadow.unet, ("source",), count, grid, temporal))
        gradient_seconds = 0.0
        if backward:
            _timed(unet(2, small, True), device)
            gradient_seconds, _ = _timed(unet(count, grid, True), device)
        encode_seconds, decode_seconds = (_timed(work(grid), device)[0] for work in (encode, decode))
    # A small evaluation drowns in what allocators keep; there the usual figure serves better.
    overhead = min(2.0, max(1.0, grown / counted)) if grown > 2**26 else _OVERHEAD
    return Probe(count, seconds, encode_seconds, decode_seconds, base, weights, overhead, gradient_seconds)


def _timed(work: Callable[[], Any], device: torch.device) -> tuple[float, int]:
    """Run something; return its seconds and by how many bytes memory grew at its peak."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    process = psutil.Process()
    rss = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
    finally:
        done.set()
        watcher.join()
    if device.type == "cuda":
        return seconds, torch.cuda.max_memory_allocated(device) - before
    return seconds, max(peak, process.memory_info().rss) - rss


def _seconds(measured: Probe, counted: Footprint, settings: RunSettings, frames: int, cost: Cost, mode: Mode) -> float:
    steps = settings.num_inference_steps
    branches = (2 if settings.guidance_scale != 1.0 else 1) + cost.reference
    evaluations = float((steps - cost.first) * branches + cost.evaluations)
    if mode == "live" or cost.level == "denoising":
        evaluations += len(cost.source_steps) * _SOURCE_SHARE
    decodes = 1
    if settings.inversion is None:
        evaluations += steps + round(steps * settings.fixed_point_steps)
        if settings.reconstruction:
            evaluations, decodes = evaluations + steps, 3
    computing = evaluations * measured.unet_seconds + cost.gradients * measured.gradient_seconds
    vae = frames * (measured.encode_seconds + decodes * measured.decode_seconds)
    disk = 2 * counted.recorded / _DISK if mode == "disk" or (mode == "memory" and settings.cache) else 0.0
    return computing * frames / measured.frames + vae + disk


def _ram(
    measured: Probe,
    counted: Footprint,
    settings: RunSettings,
    frames: int,
    size: tuple[int, int],
    mode: Mode,
    on_gpu: bool,
) -> int:
    """Add up the peak of resident memory: what is always there, and the hungriest stage."""
    clip, factor = counted.clip, 1 if on_gpu else measured.overhead
    # Frames as float32 and as bytes, and the trajectory once as a list and once stacked.
    always = measured.base_rss_bytes + clip * 5 // 4 + 2 * counted.latents
    recorded = counted.recorded if mode == "memory" else counted.recorded // settings.num_inference_steps
    if mode == "live":
        recorded = 0  # One step of it is part of the edit's own peak.
    enlarged = min(4, max(1, -(-256 // size[0]))) ** 2
    editing = max(counted.edit, counted.gradient)
    computing = (0, 0, 0, 0) if on_gpu else (counted.encode, counted.source, editing, counted.decode)
    stages = (
        computing[0] * factor,
        recorded + computing[1] * factor,
        recorded + computing[2] * factor,
        recorded + computing[3] * factor + 3 * clip,
        clip + _WRITING * enlarged * clip,
    )
    return int(max(PeakMemory.now().rss_bytes if on_gpu else 0, always + max(stages)))


def _gpu(measured: Probe, counted: Footprint) -> int:
    stages = (counted.encode, counted.source, counted.edit, counted.gradient, counted.decode)
    return int(measured.weights_bytes + counted.latents + max(stages) * measured.overhead)
