"""``faircut demo``."""

from __future__ import annotations

import json as _json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json
from faircut.cli.shared import named
from faircut.errors import ConfigError, choices

__all__ = ["DEMOS", "Demo", "demo"]


@dataclass(frozen=True)
class Demo:
    """One edit of a drawn clip.

    Attributes:
        scene: what is drawn, as `pocket.world.sample_scene` takes it.
        subject: what becomes of its subject.
        whole: what becomes of the scene.
        seed: of the scene.
    """

    scene: dict[str, Any]
    subject: dict[str, Any] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


_PLAIN = {"people": 1, "style": None, "mention_gender": False, "mention_hair": False}
_THING = {"style": None, "mention_colour": True}
DEMOS = {
    "colour": Demo({"noun": "car", "background": "street", "colour": "red", **_THING}, {"colour": "blue"}, seed=4),
    "object": Demo({"noun": "cat", "background": "snow", "colour": "black", **_THING}, {"noun": "rabbit"}, seed=1),
    "profession": Demo({"noun": "chef", "background": "park", **_PLAIN}, {"noun": "firefighter"}, seed=2),
    "style": Demo(
        {"noun": "car", "background": "farm", "colour": "red", **_THING},
        whole={"style": "watercolour painting"},
        seed=4,
    ),
}


def demo(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EDIT]...", help=f"Edits to make: {', '.join(DEMOS)} or all.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", parser=named, metavar="FOLDER", help="The folder to write to.")
    ] = Path("demo"),
    model: Annotated[str, typer.Option("--model", help="pocket, a Stable Diffusion folder, or a hub name.")] = "pocket",
    steps: Annotated[int, typer.Option("--steps", help="Number of denoising steps, for inversion and edit.")] = 20,
    frames: Annotated[int, typer.Option("--frames", help="Number of frames in each clip.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON and nothing else.")] = False,
) -> None:
    """Draw clips, edit them, measure the edits, and show them beside their sources."""
    wanted = list(DEMOS) if not names or names == ["all"] else names
    for name in wanted:
        if name not in DEMOS:
            raise ConfigError(f"no demo {name!r}: {choices(name, (*DEMOS, 'all'))}")
    from faircut.config.ranges import check_range, check_steps
    from faircut.edit.preflight import check_model_steps
    from faircut.model.checkpoints import load_tokenizer
    from faircut.prompts import Prompt

    check_steps(steps, "steps")
    check_range("frames", frames, 1, 1000, flag="--frames", example="8")
    from faircut.edit.preflight import output_files
    from faircut.files import check_outputs, folder_outputs, save_picture

    check_model_steps(model, steps)
    Prompt.of("a car", load_tokenizer(model))
    picture = output / "demo.png"
    written = [path.name for name in wanted for path in output_files(output / f"{name}.mp4").values()]
    check_outputs(folder_outputs(output, [picture.name, *(f"{name}.source.mp4" for name in wanted), *written]), [model])
    quiet_libraries()
    from faircut.edit.session import Session
    from faircut.files.cache import user_cache
    from faircut.report.pictures import tile

    cache = user_cache()
    with Bars(quiet=json) as bars:
        measure = _measure()
        with bars.stage("Loading the model"):
            session = Session.load(model, cache=cache)
        done = [_run(name, DEMOS[name], output, session, steps, frames, bars, measure) for name in wanted]
    save_picture(tile([pair for _, _, pair in done]), picture)
    if json:
        entries = [{**_json.loads(report.to_json()), "figures": asdict(figures)} for report, figures, _ in done]
        show_json(entries)
        return
    for report, figures, _ in done:
        settings = report.settings
        seconds = sum(report.seconds.values())
        say(f"{settings['source_prompt']!r} \u2192 {settings['prompt']!r} in {seconds:.0f} s")
        say(f"  {_sentence(figures, report.reconstruction_psnr)}")
        say(f"  {report.outputs['side_by_side']}", "bold green")
    say(str(picture), "bold green")


def _sentence(figures: Any, reconstruction: float | None) -> str:
    """Say in one line what an edit measures."""
    parts = [
        f"the judge sees it in {figures.shown:.0%} of the frames, and the rest {'kept' if figures.kept else 'not kept'}"
    ]
    if figures.background_psnr is not None:
        parts.append(f"background {figures.background_psnr:.1f} dB")
    parts.append(f"Tem-Con {figures.tem_con_ratio:.3f} of the source's")
    if reconstruction is not None:
        parts.append(f"reconstruction {reconstruction:.1f} dB")
    return "; ".join(parts)


def _measure() -> Callable[..., Any]:
    """Load what measures edits, once for all of them."""
    from faircut.benchmark.pocket.edits import measure_edit
    from faircut.metrics.clip import ClipScorer
    from faircut.model.checkpoints import pocket_folder
    from faircut.pocket.judge import load_judge

    return partial(measure_edit, judge=load_judge(), scorer=ClipScorer.from_pretrained(pocket_folder() / "clip"))


def _run(
    name: str,
    chosen: Demo,
    folder: Path,
    session: Any,
    steps: int,
    frames: int,
    bars: Bars,
    measure: Callable[..., Any],
) -> Any:
    """Draw one clip, edit it, measure the edit, and put some frames of both into one picture."""
    from dataclasses import replace

    import numpy as np

    from faircut.config.values import to_dict
    from faircut.edit.request import RunSettings
    from faircut.edit.run import run_edit
    from faircut.pocket.clips import render_clip
    from faircut.pocket.edit_cases import GUIDANCE, make_case, method_for, with_subject
    from faircut.pocket.pictures import to_tensor
    from faircut.pocket.world import sample_scene
    from faircut.report.pictures import draw_pairs
    from faircut.video import Video, read_video, write_video

    scene = sample_scene(np.random.default_rng(chosen.seed), **chosen.scene)
    case = make_case(name, scene, replace(with_subject(scene, **chosen.subject), **chosen.whole))
    clip = render_clip(scene, frames)
    drawn = to_tensor(clip.frames)
    source = folder / f"{name}.source.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    write_video(Video.from_frames(drawn, clip.fps), source, quality=100)
    settings = RunSettings(
        clip=str(source),
        source_prompt=case.source_prompt,
        prompt=case.prompt,
        output=str(folder / f"{name}.mp4"),
        model=session.loaded[0],
        method={"name": "fatezero", **to_dict(method_for(case))},
        num_inference_steps=steps,
        guidance_scale=GUIDANCE[name],
    )
    report = run_edit(settings, bars, session=session)
    edited = read_video(report.outputs["video"]).frames
    return report, measure(case, clip, (edited + 1) / 2), draw_pairs(drawn, edited, (case.source_prompt, case.prompt))
