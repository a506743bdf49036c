"""``faircut plan``."""

from __future__ import annotations

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
    from faircut.edit.plan import plan as predict

    quiet_libraries()
    with Bars(quiet=json) as bars:
        result = predict(settings, bars)
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
