"""Measure Stable Diffusion 1.5's real UNet shape on a GPU: 8 frames, 512 px, 50 steps, fp16, random weights.

    python benchmarks/gpu.py [--json FILE] [--tiny]

runs bare diffusers evaluations, a whole edit with the source live and recorded, and the same edit by an implementation
that keeps every attention map in main memory, as the method's reference does. The JSON is rewritten after every part,
so that one that fails leaves the others' figures. ``--tiny`` is the same on a small model, for a machine without a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import psutil
import tiny_sd
import torch
from _measure import Peak, now, peak_memory
from _models import SD_15, SOURCE, TARGET, TINY, WORDS, editor_of
from diffusers.models.attention_processor import Attention
from torch.nn import functional as F

from faircut import VideoEditor
from faircut.attention.context import Layer
from faircut.config.values import SpatialTemporal
from faircut.controllers.spatial_temporal import frame_indices
from faircut.edit.memory import map_bytes
from faircut.methods import FateZero
from faircut.model.noise_path import DDIMPath, classifier_free_guidance, denoise_latents, invert_latents

PAPER = SpatialTemporal(frames=(0, "middle"))
MIDDLE = SpatialTemporal(frames=("middle",))


@dataclass
class Run:
    """What every part needs.

    Attributes:
        editor: with the model on the device.
        z: the clip's latents, (frame, channel, height, width).
        steps: N.
        ram_share: the most of the free main memory that maps may take.
        forward: seconds of a bare evaluation, by number of branches.
        say: prints progress.
    """

    editor: VideoEditor
    z: torch.Tensor
    steps: int
    ram_share: float
    forward: dict[int, float] = field(default_factory=dict)
    say: Callable[[str], None] = lambda text: print(text, flush=True)

    def bar(self, name: str, every: int = 10) -> Callable[..., dict[str, Any]]:
        """Return a callback that says now and then which step has ended."""
        done = 0

        def step_end(*_: Any) -> dict[str, Any]:
            nonlocal done
            done += 1
            if done % every == 0:
                self.say(f"  {name}: step {done} of {self.steps}")
            return {}

        return step_end


def bare(run: Run) -> dict[str, Any]:
    """Time one evaluation with diffusers' own processors, for one branch and for two."""
    unet, frames = run.editor.unet, len(run.z)
    text = torch.randn(1, 77, unet.config.cross_attention_dim).to(run.z)
    result: dict[str, Any] = {}
    for branches in (1, 2):
        z = torch.cat([run.z] * branches)
        seconds = []
        # The first ones choose kernels.
        for _ in range(8):
            start = now()
            with torch.no_grad():
                unet(z, torch.tensor(500, device=z.device), encoder_hidden_states=text.expand(len(z), -1, -1))
            seconds.append((now() - start).wall)
        run.forward[branches] = sorted(seconds[3:])[2]
        result[f"seconds_of_{branches * frames}_frames"] = run.forward[branches]
    return result


def ours(run: Run, supplier: str, temporal: SpatialTemporal = PAPER) -> dict[str, Any]:
    """Time inversion and edit, and watch their memory."""
    evaluations = {1: 0, 2: 0}

    def count(_: Any, args: tuple[torch.Tensor, ...]) -> None:
        evaluations[len(args[0]) // len(run.z)] += 1

    editor, result, method = run.editor, {}, FateZero(blend_words=WORDS)
    always = FateZero(cross_replace_steps=1.0, self_replace_steps=1.0, blend_words=WORDS)
    # One step of each, so that no kernel is chosen on the clock.
    warm = editor.invert(run.z, SOURCE, num_inference_steps=1, temporal=temporal, supplier=supplier)
    editor.edit(warm, TARGET, always, output_type="latent")
    del warm
    hook = editor.unet.register_forward_pre_hook(count)
    try:
        with peak_memory() as peak:
            start = now()
            inversion = editor.invert(
                run.z,
                SOURCE,
                num_inference_steps=run.steps,
                temporal=temporal,
                supplier=supplier,
                callback_on_step_end=run.bar("invert"),
            )
            seconds = (now() - start).wall
        result["invert"] = _facts(seconds, peak)
        inverted = evaluations[1]
        with peak_memory() as peak:
            start = now()
            edited = editor.edit(
                inversion, TARGET, method, output_type="latent", callback_on_step_end=run.bar("edit")
            ).latents
            seconds = (now() - start).wall
        result["edit"] = _facts(seconds, peak)
    finally:
        hook.remove()
    sources = evaluations[1] - inverted
    needed = evaluations[1] * run.forward[1] + evaluations[2] * run.forward[2]
    seconds = result["invert"]["seconds"] + result["edit"]["seconds"]
    return {
        **result,
        "stored_bytes": inversion.stored_bytes,
        "evaluations": {"invert": inverted, "edit": evaluations[2], "source": sources},
        "seconds": seconds,
        "seconds_over_bare": seconds / needed,
        "share_of_bare": needed / seconds,
        "finite": bool(torch.isfinite(edited).all()),
    }


def _facts(seconds: float, peak: Peak) -> dict[str, Any]:
    return {"seconds": seconds, "peak_gpu_bytes": peak.gpu, "peak_ram_bytes": peak.ram}


class ExplicitMaps:
    """Keeps every self- and cross-attention map of the fused layers in main memory, and edits with them.

    The plainest form of the method, for comparison: no blend mask, the words' alignment is the identity.
    """

    def __init__(self, layers: Mapping[str, Layer], frames: int) -> None:
        self.indices = frame_indices(PAPER.frames, frames)
        self.frames = frames
        self.maps: dict[tuple[int, str], torch.Tensor] = {}
        self.fused = {name for name, layer in layers.items() if layer.coarse}
        self.index, self.recording, self.replacing = 0, True, False

    def processors(self, layers: Mapping[str, Layer]) -> dict[str, Any]:
        """Return a processor for every layer."""
        return {name: self._processor(layer) for name, layer in layers.items()}

    def _processor(self, layer: Layer) -> Callable[..., torch.Tensor]:
        def attend(
            attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None, **_: Any
        ) -> torch.Tensor:
            text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            q, k, v = attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text)
            if layer.kind == "self":
                k, v = (self._gather(x) for x in (k, v))
            q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
            if layer.name not in self.fused:
                output = F.scaled_dot_product_attention(q, k, v)
            else:
                probs = (q @ k.transpose(-1, -2) * attn.scale).softmax(dim=-1)
                key = (self.index, layer.name)
                if self.recording:
                    self.maps[key] = probs.cpu()
                elif self.replacing:
                    probs[self.frames :] = self.maps[key].to(probs.device)
                output = probs @ v
            return attn.to_out[1](attn.to_out[0](output.transpose(1, 2).flatten(2)))

        return attend

    def _gather(self, x: torch.Tensor) -> torch.Tensor:
        clips = x.unflatten(0, (-1, self.frames))
        return torch.cat([clips[:, column] for column in self.indices.unbind(1)], dim=2).flatten(0, 1)


@torch.no_grad()
def explicit(run: Run) -> dict[str, Any]:
    """Time the same edit with every map kept; fewer steps where they would not fit, and then scaled up."""
    editor, z, frames = run.editor, run.z, len(run.z)
    layers, grid = editor.layers, (z.shape[2], z.shape[3])
    a_step = map_bytes(layers.values(), grid, frames, 1, 77, z.element_size())
    free = psutil.virtual_memory().available
    steps = max(1, min(run.steps, int(free * run.ram_share // a_step)))
    run.say(f"  maps take {a_step / 1e9:.2f} GB a step, {free / 1e9:.0f} GB are free: {steps} of {run.steps} steps")
    schedule, maps = DDIMPath.of(editor.scheduler.config, steps), ExplicitMaps(layers, frames)
    source, target, empty = (editor.embed(text) for text in (SOURCE, TARGET, ""))
    before = dict(editor.unet.attn_processors)
    editor.unet.set_attn_processor(maps.processors(layers))

    def evaluate(x: torch.Tensor, k: int, *texts: torch.Tensor) -> torch.Tensor:
        maps.index = k
        embedding = torch.cat([text.expand(frames, -1, -1) for text in texts])
        t = torch.tensor(schedule.timesteps[k], device=x.device)
        return editor.unet(torch.cat([x] * len(texts)), t, encoder_hidden_states=embedding, return_dict=False)[0]

    def guided(x: torch.Tensor, k: int) -> torch.Tensor:
        maps.replacing = k < int(0.8 * steps)
        return classifier_free_guidance(*evaluate(x, k, empty, target).split(frames), 7.5)

    result: dict[str, Any] = {"steps": steps}
    try:
        for name in ("invert", "edit"):
            maps.recording = name == "invert"
            bar = run.bar(f"{name} with maps")
            with peak_memory() as peak:
                start = now()
                if maps.recording:
                    trajectory = invert_latents(lambda x, k, bar=bar: (bar(), evaluate(x, k, source))[1], z, schedule)
                else:
                    denoise_latents(guided, trajectory[-1], schedule, lambda k, x, bar=bar: (bar(), x)[1])
                seconds = (now() - start).wall
            result[name] = _facts(seconds, peak)
    finally:
        editor.unet.set_attn_processor(before)
    result["stored_bytes"] = sum(x.nbytes for x in maps.maps.values())
    result["seconds"] = result["invert"]["seconds"] + result["edit"]["seconds"]
    needed = steps * (run.forward[1] + run.forward[2])
    result["share_of_bare"] = needed / result["seconds"]
    result["seconds_over_bare"] = result["seconds"] / needed
    if steps < run.steps:
        factor = run.steps / steps
        result["extrapolated"] = {
            "steps": run.steps, "seconds": result["seconds"] * factor, "stored_bytes": result["stored_bytes"] * factor
        }  # fmt: skip
    return result


def table(result: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| edit | part | seconds | peak GPU | RAM taken | whole edit / bare evaluations | stored |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, part in result["parts"].items():
        if "invert" not in part:
            continue
        for phase in ("invert", "edit"):
            row = part[phase]
            whole = (
                f"{part['seconds_over_bare']:.2f} | {part['stored_bytes'] / 1e9:.3f} GB" if phase == "edit" else " | "
            )
            lines.append(
                f"| {name} | {phase} | {row['seconds']:.2f} | {row['peak_gpu_bytes'] / 1e9:.2f} GB "
                f"| {row['peak_ram_bytes'] / 1e9:.2f} GB | {whole} |"
            )
        if "extrapolated" in part:
            more = part["extrapolated"]
            lines.append(
                f"| {name}, scaled from {part['steps']} to {more['steps']} steps | both | {more['seconds']:.1f} | | | "
                f"| {more['stored_bytes'] / 1e9:.1f} GB |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here, after every part")
    parser.add_argument("--tiny", action="store_true", help="a small model, few steps, any device: does it run?")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, help="N; 50 unless tiny")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--ram-share", type=float, default=0.75, help="share of the free RAM that maps may take")
    options = parser.parse_args()
    if options.device == "cpu" and not options.tiny:
        parser.error("there is no GPU here; --tiny runs the same on a small model")
    diffusers.utils.logging.set_verbosity_error()
    half = torch.device(options.device).type == "cuda"
    dtype = torch.float16 if half else torch.float32
    if options.tiny:
        torch.set_num_threads(1)
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {text}", flush=True)

    config, side = (TINY, 16) if options.tiny else (SD_15, 64)
    run = Run(
        editor_of(config, options.device, dtype),
        tiny_sd.clip_latents(options.frames, side).to(options.device, dtype),
        options.steps or (5 if options.tiny else 50),
        options.ram_share,
        say=say,
    )
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if half else platform.processor() or "CPU",
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "setting": {
            "frames": options.frames, "latents": side, "steps": run.steps, "dtype": str(dtype).removeprefix("torch."),
            "unet": dict(config), "frames_attended": list(PAPER.frames),
        },
        "parts": {},
        "errors": {},
    }  # fmt: skip
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "bare": lambda: bare(run),
        "live": lambda: ours(run, "live"),
        "recorded": lambda: ours(run, "memory"),
        "live, middle frame alone": lambda: ours(run, "live", MIDDLE),
        "explicit maps": lambda: explicit(run),
    }
    for name, part in parts.items():
        say(name)
        try:
            result["parts"][name] = part()
        except Exception as error:
            traceback.print_exc()
            result["errors"][name] = f"{type(error).__name__}: {error}"
        if half:
            torch.cuda.empty_cache()
        result["seconds"] = time.perf_counter() - started
        if options.json is not None:
            options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    raise SystemExit(1 if result["errors"] else 0)


if __name__ == "__main__":
    main()
