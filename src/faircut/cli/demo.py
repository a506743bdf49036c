"""``faircut demo``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say
from faircut.errors import ConfigError, choices

__all__ = ["DEMOS", "Demo", "demo"]


@dataclass(frozen=True)
class Demo:
    """One edit of a drawn clip.

    Attributes:
        scene: what is drawn, as `pocket.world.sample_scene` takes it.
        words: (words of the clip's caption, words of the prompt), exchanged to make the prompt; an empty first one puts
            the second in front.
        options: of FateZero.
        seed: of the scene.
    """

    scene: dict[str, Any]
    words: tuple[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


DEMOS = {
    "profession": Demo(
        {
            "noun": "chef",
            "background": "park",
            "people": 1,
            "style": None,
            "mention_gender": False,
            "mention_hair": False,
        },
        ("chef", "firefighter"),
        {
            "blend_words": [["chef"], ["firefighter"]],
            "cross_replace_steps": 0.4,
            "self_replace_steps": 0.6,
            "latent_blend_steps": 0.8,
        },
        seed=2,
    ),
    "style": Demo(
        {"noun": "car", "background": "farm", "colour": "red", "mention_colour": True, "style": None},
        ("", "a watercolour painting of"),
        {"self_replace_steps": 0.5, "cross_replace_steps": 0.6},
        seed=4,
    ),
}


def demo(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EDIT]...", help=f"Which: {', '.join(DEMOS)}, all.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("demo"),
    model: Annotated[str, typer.Option("--model", help="pocket, a Stable Diffusion folder, or a hub name.")] = "pocket",
    steps: Annotated[int, typer.Option("--steps", help="Steps of inversion and of editing.")] = 20,
    frames: Annotated[int, typer.Option("--frames", help="Frames of the clip.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON and nothing else.")] = False,
) -> None:
    """Draw a clip, edit it, and show both side by side (default: a chef becomes a firefighter)."""
    wanted = list(DEMOS) if names == ["all"] else names or ["profession"]
    for name in wanted:
        if name not in DEMOS:
            raise ConfigError(f"no demo {name!r}: {choices(name, (*DEMOS, 'all'))}")
    from faircut.checkpoints import load_tokenizer

    load_tokenizer(model)
    quiet_libraries()
    with Bars(quiet=json) as bars:
        reports = [_run(name, DEMOS[name], output, model, steps, frames, bars) for name in wanted]
    if json:
        print("[" + ",\n".join(report.to_json() for report in reports) + "]")
        return
    for report in reports:
        settings = report.settings
        say(f"{settings['source_prompt']!r} \u2192 {settings['prompt']!r} in {sum(report.seconds.values()):.0f} s")
        say(f"  {report.outputs['side_by_side']}", "bold green")
        say(f"  {report.outputs['side_by_side'].removesuffix('.mp4')}.png")
        say(f"  {report.outputs['video']}")
        say(f"  {report.outputs['report']}")


def _run(name: str, chosen: Demo, folder: Path, model: str, steps: int, frames: int, bars: Bars) -> Any:
    """Draw one clip, edit it, and put the middle frames of both into one picture."""
    import numpy as np
    import torch

    from faircut.files import atomic_path
    from faircut.pocket.clips import render_clip
    from faircut.pocket.world import sample_scene
    from faircut.report.pictures import draw_pairs
    from faircut.settings import RunSettings
    from faircut.video import Video, read_video, write_video
    from faircut.workflow import run_edit

    clip = render_clip(sample_scene(np.random.default_rng(chosen.seed), **chosen.scene), frames)
    caption, (old, new) = clip.caption.text, chosen.words
    prompt = caption.replace(old, new, 1) if old else f"{new} {caption}"
    drawn = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    source = folder / f"{name}.source.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    write_video(Video.from_frames(drawn, clip.fps), source, quality=100)
    settings = RunSettings(
        clip=str(source),
        source_prompt=caption,
        prompt=prompt,
        output=str(folder / f"{name}.mp4"),
        model=model,
        method={"name": "fatezero", **chosen.options},
        num_inference_steps=steps,
    )
    report = run_edit(settings, bars)
    edited = read_video(report.outputs["video"])
    with atomic_path(folder / f"{name}.side_by_side.png") as path:
        draw_pairs(drawn, edited.frames, (caption, prompt)).save(path)
    return report
