"""``faircut edit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json
from faircut.cli.options import CLIP, EDIT, METHOD, MODEL, PROMPTS, RUN, flags, to_settings
from faircut.errors import ConfigError

__all__ = ["build_settings", "edit", "show_report"]


@flags(PROMPTS, CLIP, MODEL, METHOD, RUN, EDIT)
def edit(
    given: dict[str, Any],
    clip: Annotated[
        str | None, typer.Argument(help="A video file, an animation or a folder of pictures.", show_default=False)
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Where the result goes (default: CLIP.edited.mp4).", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Edit a clip by text; writes the video, a side-by-side, a report and the run's settings."""
    settings = build_settings(to_settings(given, clip=clip, output=output))
    from faircut.edit.run import run_edit

    quiet_libraries()
    with Bars(quiet=json) as bars:
        report = run_edit(settings, bars)
    if json:
        show_json(report.to_json())
    else:
        show_report(report)


def build_settings(known: dict[str, Any], needed: tuple[str, ...] = ("clip", "source_prompt", "prompt")) -> Any:
    """Build the settings of a run, saying what is missing by the names of its flags.

    Args:
        known: settings by name.
        needed: which must be there.

    Returns:
        The `RunSettings`.

    Raises:
        ConfigError: something is missing, unknown or out of range.
    """
    names = {"clip": "CLIP", "source_prompt": "-s/--source-prompt", "prompt": "-p/--prompt"}
    missing = [names[name] for name in needed if known.get(name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing; give {'them' if len(missing) > 1 else 'it'}, or --config")
    if "output" not in known:
        known = {**known, "output": f"{Path(str(known['clip'])).stem}.edited.mp4"}
    from faircut.config.values import from_dict
    from faircut.edit.request import RunSettings

    return from_dict(RunSettings, {"prompt": "", **known}, "the run")


def show_report(report: Any) -> None:
    """Print what a run did, in a few lines.

    Args:
        report: a `RunReport`.
    """
    seconds = sum(report.seconds.values())
    peak = report.peak_memory
    memory = f"{peak.rss_bytes / 2**30:.2f} GiB of memory"
    if peak.gpu_bytes:
        memory += f", {peak.gpu_bytes / 2**30:.2f} GiB on the GPU"
    quality = "not measured" if report.reconstruction_psnr is None else f"{report.reconstruction_psnr:.1f} dB"
    again = " (found in the cache)" if report.inversion_from_cache else ""
    say(report.outputs["video"], "bold green")
    for kind, path in report.outputs.items():
        if kind != "video":
            say(f"  {kind.replace('_', ' '):<13} {path}")
    say(f"  {seconds:.1f} s, {memory}; attention {report.supplier}; reconstruction {quality}{again}")
