"""Measure what faircut costs: beside bare diffusers, beside keeping attention maps, and as clips grow.

    python benchmarks/run.py [--json FILE] [--plot FILE] [--quick]

prints a table. Every figure is a ratio of two things measured in the same run, one right after the other.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import tiny_sd
import torch
from _measure import Seconds, now
from _models import QUARTER, SD_15, SOURCE, TARGET, TINY, WORDS, editor_of, unet_of

from faircut import VideoEditor
from faircut.config.values import SpatialTemporal
from faircut.edit.footprint import LiveBytes
from faircut.edit.memory import map_bytes, recorded_bytes
from faircut.methods import FateZero
from faircut.model.backbone import backbone_of

PLAIN = SpatialTemporal(frames=(0,), clip_norm=False)
MIDDLE = SpatialTemporal(frames=("middle",))
PAPER = SpatialTemporal(frames=(0, "middle"))
STYLE = FateZero()
SHAPE = FateZero(blend_words=WORDS)
# Fuses in every step, however few they are.
ALWAYS = FateZero(cross_replace_steps=1.0, self_replace_steps=1.0, blend_words=WORDS)

# What is timed: name, how the frames see each other, the method, the supplier, whether a quick run has it.
EDITS = (
    ("no method, frames apart", PLAIN, None, "live", True),
    ("FateZero, middle frame", MIDDLE, STYLE, "live", True),
    ("FateZero, middle frame", MIDDLE, STYLE, "memory", True),
    ("FateZero + blend mask, middle frame", MIDDLE, SHAPE, "live", False),
    ("FateZero + blend mask, middle frame", MIDDLE, SHAPE, "memory", False),
    ("no method, own + middle frame", PAPER, None, "live", False),
    ("FateZero, own + middle frame", PAPER, STYLE, "live", True),
    ("FateZero, own + middle frame", PAPER, STYLE, "memory", False),
    ("FateZero + blend mask, own + middle frame", PAPER, SHAPE, "live", True),
)  # fmt: skip


class _Stop(Exception):
    """Leaves the bare UNet where the live source leaves its own."""


class Bare:
    """The same UNet with diffusers' own attention processors and nothing of ours.

    Args:
        editor: whose UNet is copied.
        z: latents of a clip, (frame, channel, height, width).
    """

    def __init__(self, editor: VideoEditor, z: torch.Tensor) -> None:
        self.unet = copy.deepcopy(editor.unet)
        self.z, self.text = z, torch.randn(1, 77, self.unet.config.cross_attention_dim).to(z)
        last = [layer.name for layer in editor.layers.values() if layer.coarse][-1]
        self._last = self.unet.get_submodule(last.removesuffix(".processor"))

    @torch.no_grad()
    def forward(self, branches: int, *, stop: bool = False) -> Seconds:
        """Time one evaluation for some branches of the clip; ``stop`` leaves it after the last fused layer."""

        def leave(*_: Any) -> None:
            raise _Stop

        z = torch.cat([self.z] * branches)
        text = self.text.expand(len(z), -1, -1)
        hook = self._last.register_forward_pre_hook(leave) if stop else None
        start = now()
        try:
            self.unet(z, torch.tensor(500, device=z.device), encoder_hidden_states=text, return_dict=False)
        except _Stop:
            pass
        finally:
            if hook is not None:
                hook.remove()
        return now() - start


@dataclass
class Times:
    """One edit beside the bare evaluations that it needs, in seconds.

    Attributes:
        ours: inversion and editing of the clip.
        bare: an evaluation for every one that the edit made, at the same batch size; a source pass counts as a whole
            one.
        bare_exact: the same, where a source pass counts up to the layer where it ends.
        evaluations: how many were made, by number of branches; ``source`` are the source's passes.
    """

    ours: Seconds = field(default_factory=Seconds)
    bare: Seconds = field(default_factory=Seconds)
    bare_exact: Seconds = field(default_factory=Seconds)
    evaluations: dict[str, int] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Return ours over bare, by wall and by processor time."""
        return {
            "wall": self.ours.wall / self.bare.wall,
            "cpu": self.ours.cpu / self.bare.cpu,
            "wall_exact": self.ours.wall / self.bare_exact.wall,
            "cpu_exact": self.ours.cpu / self.bare_exact.cpu,
        }


@contextmanager
def _counted(unet: torch.nn.Module, frames: int) -> Iterator[list[int]]:
    """Note the branches of every evaluation of a UNet."""
    branches: list[int] = []
    hook = unet.register_forward_pre_hook(lambda _, args: branches.append(len(args[0]) // frames))
    try:
        yield branches
    finally:
        hook.remove()


def time_edit(
    editor: VideoEditor,
    bare: Bare,
    z: torch.Tensor,
    temporal: SpatialTemporal,
    method: FateZero | None,
    supplier: str,
    steps: int,
) -> Times:
    """Invert and edit a clip; after each step run the bare evaluations that the step needed, off the clock.

    So ours and bare take turns every second or so, and whatever else the machine does falls on both alike.
    """
    times, frames = Times(), len(z)

    with _counted(editor.unet, frames) as seen:

        def step_end(*_: Any) -> dict[str, Any]:
            nonlocal paused
            start = now()
            # A source pass comes first in its step and has one branch, the edit's own evaluation has two.
            for branches in seen:
                source = len(seen) > 1 and branches == 1
                name = "source" if source else str(branches)
                times.evaluations[name] = times.evaluations.get(name, 0) + 1
                full = bare.forward(branches)
                times.bare += full
                times.bare_exact += bare.forward(branches, stop=True) if source else full
            seen.clear()
            paused += now() - start
            return {}

        paused, start = Seconds(), now()
        inversion = editor.invert(
            z, SOURCE, num_inference_steps=steps, temporal=temporal, supplier=supplier, callback_on_step_end=step_end
        )
        editor.edit(inversion, TARGET, method, output_type="latent", callback_on_step_end=step_end)
        times.ours = now() - start - paused
    return times


def overhead(quick: bool, repeats: int) -> dict[str, Any]:
    """Measure whole edits against the bare evaluations that they need."""
    frames, side, steps = 4, 32, 5
    editor = editor_of(QUARTER)
    z = tiny_sd.clip_latents(frames, side)
    bare = Bare(editor, z)
    forward = statistics.median(bare.forward(1).wall for _ in range(3))
    time_edit(editor, bare, z, PAPER, SHAPE, "live", 1)
    edits = [edit for edit in EDITS if edit[-1] or not quick]
    runs: list[list[Times]] = [[] for _ in edits]
    for repeat in range(repeats):
        for done, (name, temporal, method, supplier, _) in zip(runs, edits, strict=True):
            done.append(time_edit(editor, bare, z, temporal, method, supplier, steps))
            _say(f"  {name}, {supplier} ({repeat + 1}/{repeats}): {done[-1].ratios()['wall']:.3f}")
    rows = []
    for (name, _, method, supplier, _), done in zip(edits, runs, strict=True):
        ratios = [times.ratios() for times in done]
        rows.append(
            {
                "edit": name,
                "supplier": {"live": "live", "memory": "recorded"}[supplier] if method else "-",
                "evaluations": done[0].evaluations,
                **{key: statistics.median(r[key] for r in ratios) for key in ratios[0]},
                "runs": ratios,
            }
        )
    shape = {"frames": frames, "latents": side, "steps": steps, "repeats": repeats, "unet": dict(QUARTER)}
    return {"setting": shape, "seconds_of_a_bare_forward": forward, "rows": rows}


def stored_state(quick: bool, _: int) -> dict[str, Any]:
    """Count what is kept between inversion and edit: for Stable Diffusion 1.5 from shapes, and measured on a tiny
    model."""
    frames, steps, side, itemsize = 8, 50, 64, 2
    layers = backbone_of(unet_of(SD_15, "meta")).layers().values()
    per = frames * steps
    maps = map_bytes(layers, (side, side), frames, steps, 77, itemsize, key_frames=2)
    latents = (steps + 1) * frames * 4 * side * side * itemsize
    recorded = recorded_bytes(layers, (side, side), frames, steps, 77, itemsize) + latents
    predicted = {
        "maps": {"total": maps, "per_frame_and_step": maps / per, "times_less": 1.0},
        "recorded": {"total": recorded, "per_frame_and_step": recorded / per, "times_less": maps / recorded},
        "live": {"total": latents, "per_frame_and_step": latents / per, "times_less": maps / latents},
    }
    editor = editor_of(TINY)
    small_frames, small_steps, small_side = (3, 2, 32) if quick else (4, 3, 64)
    z = tiny_sd.clip_latents(small_frames, small_side)
    measured = {}
    for name, supplier in (("recorded", "memory"), ("live", "live")):
        inversion = editor.invert(z, SOURCE, num_inference_steps=small_steps, supplier=supplier)
        expected = (small_steps + 1) * z.nbytes
        if name == "recorded":
            grid = (small_side, small_side)
            expected += recorded_bytes(editor.layers.values(), grid, small_frames, small_steps, 77, 4)
        measured[name] = {"predicted": expected, "measured": inversion.stored_bytes}
    setting = {"frames": frames, "steps": steps, "latents": side, "itemsize": itemsize, "key_frames": 2}
    return {"setting": setting, "sd15": predicted, "tiny": measured}


def growth(quick: bool, repeats: int) -> dict[str, Any]:
    """Measure time and peak memory of an edit as the clip gets longer and larger."""
    counts = (2, 4, 8) if quick else (4, 8, 16, 32)
    sides = (16, 24, 32) if quick else (16, 24, 32, 48)
    steps, side, frames = 2, 24, 4
    editor = editor_of(TINY)

    def edit(z: torch.Tensor, steps: int = steps) -> None:
        inversion = editor.invert(z, SOURCE, num_inference_steps=steps, temporal=PAPER, supplier="live")
        editor.edit(inversion, TARGET, ALWAYS, output_type="latent")

    clips = {("frames", n): tiny_sd.clip_latents(n, side) for n in counts}
    clips |= {("pixels", s): tiny_sd.clip_latents(frames, s) for s in sides}
    edit(tiny_sd.clip_latents(2, 16))
    seconds: dict[Any, list[Seconds]] = {key: [] for key in clips}
    for _ in range(repeats):
        for key, z in clips.items():
            start = now()
            edit(z)
            seconds[key].append(now() - start)
    points: dict[str, list[dict[str, float]]] = {"frames": [], "pixels": []}
    for (axis, value), z in clips.items():
        # A step more adds one set of latents, which is next to nothing.
        with LiveBytes() as live:
            edit(z, 1)
        points[axis].append(
            {
                "value": value if axis == "frames" else value**2,
                "wall": statistics.median(s.wall for s in seconds[axis, value]),
                "cpu": statistics.median(s.cpu for s in seconds[axis, value]),
                "peak_bytes": live.peak,
            }
        )
        _say(f"  {axis} {points[axis][-1]['value']}: {live.peak / 1e6:.1f} MB")
    fits = {axis: {what: _fit(rows, what) for what in ("cpu", "wall", "peak_bytes")} for axis, rows in points.items()}
    setting = {"steps": steps, "repeats": repeats, "latents": side, "frames": frames, "unet": dict(TINY)}
    return {"setting": setting, "points": points, "fits": fits}


def _fit(rows: Sequence[Mapping[str, float]], what: str) -> dict[str, float]:
    """Fit a straight line, and compare the cost of a unit between the largest and the smallest."""
    x = torch.tensor([row["value"] for row in rows], dtype=torch.float64)
    y = torch.tensor([row[what] for row in rows], dtype=torch.float64)
    line = torch.stack([x, torch.ones_like(x)], dim=1)
    residual = y - line @ torch.linalg.lstsq(line, y[:, None]).solution[:, 0]
    exponent = torch.linalg.lstsq(torch.stack([x.log(), torch.ones_like(x)], dim=1), y.log()[:, None]).solution[0, 0]
    return {
        "r2": float(1 - residual.square().sum() / (y - y.mean()).square().sum()),
        "unit_cost_largest_to_smallest": float((y[-1] / x[-1]) / (y[0] / x[0])),
        "exponent": float(exponent),
    }


def plot(result: Mapping[str, Any], file: Path) -> None:
    """Draw how time and peak memory grow, relative to the smallest clip."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    titles = {"frames": "longer clips", "pixels": "larger frames"}
    labels = {"frames": "frames", "pixels": "latent positions a frame (64 pixels each)"}
    for ax, (axis, rows) in zip(axes, result["points"].items(), strict=True):
        x = [row["value"] for row in rows]
        for what, label, marker in (("cpu", "processor time", "o"), ("peak_bytes", "peak memory", "s")):
            ax.plot(x, [row[what] / rows[0][what] for row in rows], marker=marker, label=label)
        ax.plot(x, [v / x[0] for v in x], color="0.6", linestyle="--", linewidth=1, label="proportional")
        ax.set(title=titles[axis], xlabel=labels[axis], xscale="log", yscale="log")
        ax.set_xticks(x, [str(v) for v in x])
        ticks = [t for t in (1, 2, 4, 8, 16, 32, 64) if t <= 1.5 * max(row["cpu"] / rows[0]["cpu"] for row in rows)]
        ax.set_yticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
        ax.grid(color="0.92")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("times the smallest clip")
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """Print the results as Markdown."""
    if "overhead" in result:
        part = result["overhead"]
        yield "### Overhead: a whole edit / the bare diffusers evaluations it needs\n"
        yield "| edit | source | evaluations (F, 2F, source) | wall | processor | wall, exact | processor, exact |"
        yield "|---|---|---|---:|---:|---:|---:|"
        for row in part["rows"]:
            counts = ", ".join(str(row["evaluations"].get(name, 0)) for name in ("1", "2", "source"))
            yield (
                f"| {row['edit']} | {row['supplier']} | {counts} | {row['wall']:.2f} | {row['cpu']:.2f} "
                f"| {row['wall_exact']:.2f} | {row['cpu_exact']:.2f} |"
            )
        s = part["setting"]
        yield (
            f"\n{s['frames']} frames, latents {s['latents']} x {s['latents']}, {s['steps']} steps, "
            f"median of {s['repeats']}; one bare evaluation of F = {s['frames']} frames took "
            f"{part['seconds_of_a_bare_forward']:.2f} s.\n"
        )
    if "stored_state" in result:
        part = result["stored_state"]
        yield "### Stored between inversion and edit: Stable Diffusion 1.5, 512 px, 8 frames, 50 steps, fp16\n"
        yield "| kept | a frame and step | in all | times less |"
        yield "|---|---:|---:|---:|"
        names = {"maps": "every map of the fused layers", "recorded": "recorded", "live": "live"}
        for name, row in part["sd15"].items():
            yield (
                f"| {names[name]} | {_bytes(row['per_frame_and_step'])} | {_bytes(row['total'])} "
                f"| {row['times_less']:,.1f} |"
            )
        checks = ", ".join(
            f"{name} {row['measured']:,} bytes kept, {row['predicted']:,} predicted"
            for name, row in part["tiny"].items()
        )
        yield f"\nOn a tiny model: {checks}.\n"
    if "growth" in result:
        yield "### Growth: time and peak memory of an edit\n"
        yield "| with | of | straight line, R^2 | cost of a unit, largest / smallest | exponent |"
        yield "|---|---|---:|---:|---:|"
        for axis, fits in result["growth"]["fits"].items():
            values = [row["value"] for row in result["growth"]["points"][axis]]
            for what, label in (("cpu", "processor time"), ("peak_bytes", "peak memory")):
                fit = fits[what]
                yield (
                    f"| {axis} ({values[0]} to {values[-1]}) | {label} | {fit['r2']:.4f} "
                    f"| {fit['unit_cost_largest_to_smallest']:.2f} | {fit['exponent']:.2f} |"
                )


def _bytes(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw the growth here")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: does it run?")
    parser.add_argument("--repeats", type=int, help="take the median of so many; 3, or 1 in a quick run")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="leave the others out")
    parser.add_argument("--threads", type=int, default=1, help="more than one suffers where the machine is shared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    diffusers.utils.logging.set_verbosity_error()
    result: dict[str, Any] = {
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": options.threads,
        "quick": options.quick,
    }
    for name in options.only:
        _say(f"{name} ...")
        result[name] = PARTS[name](options.quick, options.repeats or (1 if options.quick else 3))
    print("\n".join(table(result)))
    if options.plot is not None and "growth" in result:
        plot(result["growth"], options.plot)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


PARTS = {"overhead": overhead, "stored_state": stored_state, "growth": growth}

if __name__ == "__main__":
    main()
