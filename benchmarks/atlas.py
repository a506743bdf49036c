"""Edits through an atlas beside edits of the clip itself, on held-out drawn clips; the table of docs/results/atlas.md.

    python benchmarks/atlas.py [--n 3] [--pictures FOLDER]

Masks are the drawn world's own. Both ways use FateZero with the pocket model's options for the kind of edit, 20 steps.
Seconds are of the processor, with one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from faircut import EditRequest, Session
from faircut.atlas import edit_atlas, fit_atlas
from faircut.benchmark.pocket.edits import measure_edit
from faircut.metrics import region_psnr
from faircut.metrics.clip import ClipScorer
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.clips import render_clip
from faircut.pocket.edit_cases import GUIDANCE, EditCase, edit_cases, method_for
from faircut.pocket.judge import load_judge
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor

FRAMES, STEPS = 8, 20
LAYER = {"colour": "foreground", "background": "background"}


def measure(case: EditCase, number: int, tools: tuple, pictures: Path | None) -> dict[str, list[dict[str, float]]]:
    """Fit, edit both ways, and measure."""
    session, judge, scorer = tools
    clip = render_clip(case.source, FRAMES)
    frames, masks = to_tensor(clip.frames), torch.from_numpy(clip.masks.any(1))
    method, guidance = method_for(case), GUIDANCE[case.kind]
    begun = time.process_time()
    atlas = fit_atlas(frames, masks)
    fitted = time.process_time()
    request = EditRequest(case.source_prompt, case.prompt, method, num_inference_steps=STEPS, guidance_scale=guidance)
    through = edit_atlas(session, atlas, request, layer=LAYER[case.kind])
    edited = time.process_time()
    direct = session.edit(session.prepare(request, frames))
    seconds = {"atlas": edited - fitted, "direct": time.process_time() - edited}
    row = {}
    for way, video in (("atlas", through.video), ("direct", direct.video)):
        pixels, source = (video.frames + 1) / 2, (frames + 1) / 2
        figures = measure_edit(case, clip, pixels, judge, scorer)
        # What a colour edit must not touch is around the subject; what a background edit must not touch is the subject.
        kept = figures.background_psnr if case.kind == "colour" else region_psnr(pixels, source, masks)
        row[way] = [
            float(figures.reached), float(figures.kept), figures.shown, kept, figures.tem_con_ratio, seconds[way]
        ]  # fmt: skip
    row["fit"] = [atlas.report["psnr"], fitted - begun]
    print(f"{case.kind:<10} {case.source_prompt} -> {case.prompt}")
    print(
        "  " + "; ".join(f"{name} " + " ".join(f"{v:.3f}" for v in values) for name, values in row.items()), flush=True
    )
    if pictures is not None:
        rows = torch.cat([frames, atlas.render(), through.video.frames, direct.video.frames])
        contact_sheet(to_pixels(rows), FRAMES, pictures / f"{case.kind}-{number}.png")
        contact_sheet(
            to_pixels(torch.stack([through.before, through.after])), 2, pictures / f"{case.kind}-{number}-atlas.png"
        )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3, help="cases of each kind")
    parser.add_argument("--pictures", type=Path, help="a folder: source, reconstruction, through the atlas, direct")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    session = Session.load("pocket")
    tools = (session, load_judge(pocket_folder() / "judge"), ClipScorer.from_pretrained(pocket_folder() / "clip"))
    for kind in LAYER:
        cases = [case for case in edit_cases() if case.kind == kind][: arguments.n]
        rows = [measure(case, i, tools, arguments.pictures) for i, case in enumerate(cases)]
        psnr, seconds = np.mean([row["fit"] for row in rows], axis=0)
        print(f"\n{kind}, {len(cases)} clips: reconstruction {psnr:.1f} dB, fitted in {seconds:.0f} s")
        for way in ("atlas", "direct"):
            reached, kept, shown, outside, ratio, taken = np.mean([row[way] for row in rows], axis=0)
            print(
                f"  {way:<7} reached {reached:.2f}  kept {kept:.2f}  frames that show it {shown:.2f}  "
                f"untouched part {outside:.1f} dB  Tem-Con ratio {ratio:.3f}  {taken:.0f} s"
            )
        print()


if __name__ == "__main__":
    main()
