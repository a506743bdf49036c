"""``faircut atlas``: take a clip apart into two pictures, and edit one of them for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, writing
from faircut.cli.edit import build_settings
from faircut.cli.lazy import Group
from faircut.cli.options import CLIP, METHOD, MODEL, PROMPTS, flags, to_settings
from faircut.cli.shared import result_folder
from faircut.cli.typed import commas
from faircut.errors import ConfigError

__all__ = ["atlas"]

atlas = typer.Typer(
    cls=Group, no_args_is_help=True, help="Edit a clip through a layered atlas: one picture for all frames."
)

_FIT = {name: {**PROMPTS, **MODEL}[name] for name in ("source_prompt", "model", "lora", "device", "dtype")}
_LOOK_STEPS = 20
_BESIDE = {"side_by_side": "side_by_side.mp4", "picture": "atlas.png", "report": "report.json"}


@atlas.command()
@flags(_FIT, CLIP)
def fit(
    given: dict[str, Any],
    clip: Annotated[str, typer.Argument(help="A video file, an animation or a folder of pictures.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="The folder to write (default: CLIP.atlas).", show_default=False),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            "--words", help="The foreground is where these words of -s/--source-prompt are; joined by commas."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", help="The foreground is where this clip or folder of pictures is bright, frame by frame."
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Gradient steps of the fit.")] = 300,
    seed: Annotated[int, typer.Option("--seed", help="Of the fit.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Fit an atlas to a clip; without --words or --mask what moves on its own is the foreground."""
    if words is not None and mask is not None:
        raise ConfigError("--words and --mask both say where the foreground is; give one of them")
    if words is not None and "source_prompt" not in given:
        raise ConfigError("--words needs the source prompt that contains them; give -s/--source-prompt as well")
    settings = build_settings({"source_prompt": "", **to_settings(given, clip=clip)}, ("clip",))
    from faircut.atlas import AtlasSettings, fit_atlas
    from faircut.edit.preflight import input_files
    from faircut.edit.run import read_clip

    folder = result_folder(output, clip, "atlas", [*input_files(settings), mask])

    fitting = AtlasSettings(steps=steps, seed=seed)
    quiet_libraries()
    looked_for = None if words is None else _words(words, settings)
    with Bars(quiet=json) as bars:
        with bars.stage("Reading"):
            video = read_clip(settings)
            masks = None if mask is None else _read_masks(mask, settings)
        if looked_for is not None:
            with bars.stage("Looking"):
                masks = _locate(video, looked_for, settings)
        with bars.stage("Fitting", steps) as advance:
            fitted = fit_atlas(video, masks, fitting, advance)
        with writing(folder):
            fitted.save(folder)
    share = float((fitted.alpha > 0.5).float().mean())
    facts = {"atlas": str(folder), "frames": len(video), "foreground": share, **fitted.report}
    if json:
        show_json(facts)
        return
    say(str(folder), "bold green")
    say(f"  {facts['psnr']:.1f} dB in {facts['seconds']:.0f} s; {share:.0%} foreground")


def _read_masks(path: str, settings: Any) -> Any:
    """Read masks as the clip is read: bright is foreground."""
    from dataclasses import replace

    from faircut.edit.run import read_clip

    return read_clip(replace(settings, clip=path)).frames.mean(1) > 0


def _words(text: str, settings: Any) -> tuple[str, ...]:
    """Read words of the source prompt, and check them and what looking for them needs."""
    from faircut.edit.preflight import check_source
    from faircut.edit.request import parse_device
    from faircut.model.checkpoints import load_tokenizer
    from faircut.prompts import Prompt

    words = commas(text)
    if not words:
        raise ConfigError(f"--words {text!r} names no word; give words of the source prompt, joined by commas")
    parse_device(settings.device, settings.dtype)
    check_source(settings, steps=_LOOK_STEPS)
    prompt = Prompt.of(settings.source_prompt, load_tokenizer(settings.model))
    for word in words:
        prompt.find(word)
    return words


def _locate(video: Any, words: Sequence[str], settings: Any) -> Any:
    """Look where words are in a clip, (frame, height, width), bool."""
    from faircut.edit.session import Session, open_cache

    with Session.of(settings, cache=open_cache(settings)) as session:
        request = settings.request(method=None, num_inference_steps=_LOOK_STEPS)
        return session.locate(session.prepare(request, video).inversion, words)


@atlas.command()
@flags(PROMPTS, MODEL, METHOD)
def edit(
    given: dict[str, Any],
    folder: Annotated[str, typer.Argument(help="A folder that faircut atlas fit wrote.")],
    layer: Annotated[str, typer.Option("--layer", help="foreground or background.")] = "foreground",
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Where the result goes (default: FOLDER.edited.mp4).", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Edit a layer of an atlas by text; writes the video, a side-by-side, what the model saw and made, and a report."""
    output = f"{Path(folder).name}.edited.mp4" if output is None else output
    settings = build_settings(to_settings(given, clip=folder, output=output))
    from faircut.atlas import Atlas, edit_atlas
    from faircut.edit.preflight import check_method, check_output, check_prompts, output_files
    from faircut.edit.request import parse_device
    from faircut.edit.session import Session, open_cache
    from faircut.files import json_text

    quiet_libraries()
    request = settings.request()
    check_method(settings, request.method)
    check_output(settings, output_files(settings.output, _BESIDE))
    parse_device(settings.device, settings.dtype)
    cache = open_cache(settings)
    with Bars(quiet=json) as bars:
        with bars.stage("Reading"):
            known = Atlas.load(folder)
            known.layer(layer)
            check_prompts(settings, request.method)
        with bars.stage("Loading the model"):
            session = Session.of(settings, [request], cache)
        result = edit_atlas(session, known, request, layer=layer, progress=bars)
        report = _write(known, result, settings)
    if json:
        show_json(json_text(report))
        return
    for path in report["outputs"].values():
        say(path)


def _write(known: Any, result: Any, settings: Any) -> dict[str, Any]:
    """Write an edit and what goes beside it; returns the report with the files' names."""
    from faircut.config.values import to_dict
    from faircut.edit.preflight import output_files
    from faircut.files import all_or_nothing, save_picture, write_json
    from faircut.report.pictures import draw_pairs, enlarge_small
    from faircut.video import side_by_side, write_video

    final = output_files(settings.output, _BESIDE)
    outputs = {kind: str(path) for kind, path in final.items()}
    report = {**result.report, "settings": to_dict(settings), "outputs": outputs}
    labels = (settings.source_prompt, settings.prompt)
    with writing(final["video"]), all_or_nothing(final) as files:
        write_video(result.video, files["video"])
        pair = [clip.with_frames(enlarge_small(clip.frames)) for clip in (known.video, result.video)]
        write_video(side_by_side(pair, labels), files["side_by_side"])
        save_picture(draw_pairs(result.before[None], result.after[None], labels), files["picture"])
        write_json(files["report"], report)
    return report
