"""What tuning to the clip does for edits of shape: FateZero on the pocket model, before and after Tune-A-Video.

    python benchmarks/tuned_shapes.py [--cases N] [--frames N] [--steps N] [--lr RATE] [--json FILE] [--picture PNG]

tunes the pocket model to each of the first clips of the fixed list of object edits (a car to a jeep, a dog to a cat),
and edits the clip on the plain and on the tuned model, with FateZero as it suits shapes and with DDIM alone, as
Tune-A-Video itself does. It prints in how many frames the judge sees the new thing, whether it sees all else as before,
how much of the background stayed (dB), and how alike neighbouring frames are. The picture has a row an edit: some
frames of the source, of FateZero before and after tuning, and of DDIM before and after.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from faircut import Video, VideoEditor
from faircut.benchmark.pocket.edits import measure_edit
from faircut.methods import TuneAVideo
from faircut.metrics.clip import ClipScorer
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.clips import render_clip
from faircut.pocket.edit_cases import GUIDANCE, EditCase, edit_cases, method_for
from faircut.pocket.judge import load_judge
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor
from faircut.tune import TuneSettings, tune

_STEPS = 20
_SHOWN = (0, -1)


METHODS = {"fatezero": method_for, "ddim": lambda case: TuneAVideo()}
COLUMNS = [f"{method} {when}" for method in METHODS for when in ("before", "after")]


def edited(editor: VideoEditor, case: EditCase, frames: torch.Tensor) -> dict[str, torch.Tensor]:
    """Edit a clip with each method; (frame, 3, height, width) in [-1, 1] each."""
    inversion = editor.invert(frames, case.source_prompt, num_inference_steps=_STEPS, temporal=TuneAVideo.temporal)
    pictures = {}
    for name, method in METHODS.items():
        result = editor.edit(inversion, case.prompt, method(case), guidance_scale=GUIDANCE[case.kind])
        assert result.video is not None
        pictures[name] = result.video.frames
    return pictures


def compare(
    case: EditCase, count: int, settings: TuneSettings, judge: Any, scorer: Any
) -> tuple[dict[str, Any], torch.Tensor]:
    """Edit a clip before and after tuning; the figures of both, and frames of the source and of all edits."""
    clip = render_clip(case.source, count)
    frames = to_tensor(clip.frames)
    editor = VideoEditor.from_pretrained("pocket")
    editor.set_progress_bar_config(disable=True)
    pictures = {f"{name} before": video for name, video in edited(editor, case, frames).items()}
    with tempfile.TemporaryDirectory() as folder:
        tuned = tune(editor, Video.from_frames(frames, clip.fps), case.source_prompt, settings, Path(folder) / "tuned")
    pictures |= {f"{name} after": video for name, video in edited(editor, case, frames).items()}
    row: dict[str, Any] = {"source": case.source_prompt, "target": case.prompt, "tuning_seconds": round(tuned.seconds)}
    for name in COLUMNS:
        row[name] = dataclasses.asdict(measure_edit(case, clip, (pictures[name] + 1) / 2, judge, scorer))
    return row, torch.cat([part[list(_SHOWN)] for part in (frames, *(pictures[name] for name in COLUMNS))])


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over the cases."""
    return {
        name: {key: statistics.mean(float(row[name][key]) for row in rows) for key in rows[0][name]} for name in COLUMNS
    }


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    settings = TuneSettings(steps=options.steps, learning_rate=options.lr)
    judge, scorer = load_judge(), ClipScorer.from_pretrained(pocket_folder() / "clip")
    cases = [case for case in edit_cases() if case.kind == "object"]
    rows, pictures = [], []
    for case in cases[options.first : options.first + options.cases]:
        row, shown = compare(case, options.frames, settings, judge, scorer)
        rows.append(row)
        pictures += [*shown]
        print(f"{row['source']} -> {row['target']} ({row['tuning_seconds']} s of tuning)")
        for name in COLUMNS:
            print(f"  {name:<15} {line(row[name])}", flush=True)
    means = summary(rows)
    print(f"mean of {len(rows)}")
    for name, figures in means.items():
        print(f"  {name:<15} {line(figures)}")
    if options.picture is not None:
        contact_sheet(to_pixels(torch.stack(pictures)), (1 + len(COLUMNS)) * len(_SHOWN), options.picture)
    if options.json is not None:
        settings_used = {"frames": options.frames, "steps": settings.steps, "learning_rate": settings.learning_rate}
        options.json.write_text(json.dumps({"settings": settings_used, "means": means, "edits": rows}, indent=1) + "\n")


def line(figures: dict[str, Any]) -> str:
    """Say the figures of an edit, or of many, in one line."""
    shown, reached, kept = (float(figures[key]) for key in ("shown", "reached", "kept"))
    return (
        f"shown {shown:.2f}  reached {reached:.2f}  rest kept {kept:.2f}  background "
        f"{figures['background_psnr']:.1f} dB  Tem-Con {figures['tem_con_ratio']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
