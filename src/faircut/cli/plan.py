"""``faircut plan``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, show_table
from faircut.cli.edit import build_settings
from faircut.cli.options import CLIP, METHOD, MODEL, PROMPTS, RUN, flags, to_settings

__all__ = ["plan"]


@flags(PROMPTS, CLIP, MODEL, METHOD, RUN)
def plan(
    given: dict[str, Any],
    clip: Annotated[
        str | None, typer.Argument(help="A video file, an animation or a folder of pictures.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Predict time and memory of an edit, for each place that the source's attention can come from."""
    settings = build_settings(to_settings(given, clip=clip))
    from faircut.config.values import to_dict
    from faircut.edit.plan import make_plan
    from faircut.edit.preflight import check_prompts
    from faircut.edit.request import parse_device
    from faircut.edit.run import read_clip
    from faircut.edit.session import load_editor

    quiet_libraries()
    method = settings.build_method()
    parse_device(settings.device, settings.dtype)
    with Bars(quiet=json) as bars:
        with bars.stage("Reading"):
            video = read_clip(settings)
            check_prompts(settings, method)
        started = time.perf_counter()
        with bars.stage("Loading the model"):
            editor = load_editor(settings.model, settings.lora, settings.device, settings.dtype)
        seconds = time.perf_counter() - started
        with bars.stage("Measuring"):
            prompts = editor.tokenize(settings.source_prompt), editor.tokenize(settings.prompt)
            result = make_plan(editor, video, settings, method, prompts, seconds)
    if json:
        show_json(to_dict(result))
        return
    say(f"{result.frames} frames of {result.width} x {result.height}, {result.steps} steps, on {result.device}")
    rows = []
    for mode in result.modes:
        note = "" if mode.fits else "does not fit"
        if mode.supplier == result.chosen:
            note = f"{note}, chosen" if note else "chosen"
        gpu = "\u2013" if mode.gpu_bytes is None else _size(mode.gpu_bytes)
        disk = _size(mode.disk_bytes) if mode.disk_bytes else "\u2013"
        rows.append((mode.supplier, _time(mode.seconds), _size(mode.ram_bytes), gpu, disk, note))
    show_table(("attention", "time", "memory", "GPU", "disk", ""), rows, "lrrrrl")
    free = _size(result.ram_available) + (f", {_size(result.gpu_available)} on the GPU" if result.gpu_available else "")
    say(f"available: {free}")


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
