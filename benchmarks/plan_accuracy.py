"""Compare what `faircut plan` predicts with what `faircut edit` then measures, each in a process of its own.

    python benchmarks/plan_accuracy.py [--sizes 256 512] [--frames 4 8] [--steps 5] [--json FILE]

prints a table, and exits 1 if a memory prediction is off by more than 25%.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
TOLERANCE = 0.25


def make_inputs(folder: Path, sizes: list[int], frames: int) -> Path:
    """Write a tiny checkpoint, and a moving clip of every size."""
    import tiny_sd
    import torch

    from faircut import Video, VideoEditor, write_video

    VideoEditor(**tiny_sd.components(folder / "tokenizer")).save_pretrained(folder / "model")
    for size in sizes:
        axis = torch.linspace(-3, 3, size)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        clip = torch.stack([torch.stack([torch.sin(x + f / 4), torch.cos(y), torch.sin(x * y)]) for f in range(frames)])
        write_video(Video.from_frames(clip, 8), folder / f"{size}.mp4")
    return folder / "model"


def faircut(*arguments: object) -> dict[str, Any]:
    """Run the command line in a process of its own and read its JSON."""
    command = [sys.executable, "-c", "from faircut.cli import main; main()", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--frames", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--modes", nargs="+", default=["live", "memory", "disk"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", help="a model folder; by default a tiny random one is made")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FAIRCUT_CACHE"] = str(folder / "cache")
        tiny = make_inputs(folder, options.sizes, max(options.frames))
        print(
            "  px frames  mode     predicted  measured   error    GPU predicted  measured   error    seconds  measured"
        )
        for size in options.sizes:
            for frames in options.frames:
                shared = [
                    folder / f"{size}.mp4", "-s", SOURCE, "-p", TARGET, "--blend", "jeep:car", "--frames", frames,
                    "--steps", options.steps, "--model", options.model or tiny, "--no-cache",
                    "--device", options.device, "--dtype", options.dtype,
                ]  # fmt: skip
                plan = faircut("plan", *shared)
                for mode in plan["modes"]:
                    if mode["supplier"] not in options.modes:
                        continue
                    report = faircut("edit", *shared, "--supplier", mode["supplier"], "-o", folder / "out.mp4")
                    rows.append(row(size, frames, mode, report))
                    show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    worst = max(abs(r[key]) for r in rows for key in ("ram_error", "gpu_error") if r[key] is not None)
    print(f"largest error {worst:.0%}, tolerance {TOLERANCE:.0%}")
    sys.exit(0 if worst <= TOLERANCE else 1)


def row(size: int, frames: int, mode: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Set a prediction beside its measurement."""
    peak = report["peak_memory"]
    gpu = mode["gpu_bytes"]
    return {
        "size": size,
        "frames": frames,
        "supplier": mode["supplier"],
        "ram_predicted": mode["ram_bytes"],
        "ram_measured": peak["rss_bytes"],
        "ram_error": mode["ram_bytes"] / peak["rss_bytes"] - 1,
        "gpu_predicted": gpu,
        "gpu_measured": peak["gpu_bytes"],
        "gpu_error": None if gpu is None else gpu / peak["gpu_bytes"] - 1,
        "seconds_predicted": mode["seconds"],
        "seconds_measured": sum(report["seconds"].values()),
    }


def show(r: dict[str, Any]) -> None:
    """Print a row."""
    gpu = f"{'-':>13} {'-':>9} {'-':>7}"
    if r["gpu_error"] is not None:
        gpu = f"{r['gpu_predicted'] / 2**20:9.0f} MiB {r['gpu_measured'] / 2**20:9.0f} {r['gpu_error']:+7.0%}"
    print(
        f"{r['size']:4} {r['frames']:6}  {r['supplier']:<7} {r['ram_predicted'] / 2**20:7.0f} MiB "
        f"{r['ram_measured'] / 2**20:9.0f} {r['ram_error']:+7.0%}    {gpu} "
        f"{r['seconds_predicted']:10.1f} {r['seconds_measured']:9.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
