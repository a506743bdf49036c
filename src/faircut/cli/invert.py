"""``faircut invert``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, writing
from faircut.cli.edit import build_settings
from faircut.cli.options import CLIP, MODEL, PROMPTS, RUN, flags, to_settings
from faircut.cli.shared import result_folder

__all__ = ["invert"]

_FLAGS = {"source_prompt": PROMPTS["source_prompt"]}


@flags(_FLAGS, CLIP, MODEL, RUN)
def invert(
    given: dict[str, Any],
    clip: Annotated[str, typer.Argument(help="A video file, an animation or a folder of pictures.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="The folder to write (default: CLIP.inversion).", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Invert a clip once, for many edits: faircut edit --inversion FOLDER."""
    settings = build_settings(to_settings(given, clip=clip), ("clip", "source_prompt"))
    from faircut.edit.preflight import check_source, input_files

    folder = result_folder(output, clip, "inversion", input_files(settings))
    from faircut.edit.request import parse_device
    from faircut.edit.run import read_clip
    from faircut.edit.session import Session, open_cache

    quiet_libraries()
    parse_device(settings.device, settings.dtype)
    cache = open_cache(settings)
    with Bars(quiet=json) as bars:
        check_source(settings)
        video = read_clip(settings)
        with bars.stage("Loading the model"):
            session = Session.of(settings, cache=cache)
        prepared = session.prepare(settings.request(method=None), video, progress=bars)
        inversion = prepared.inversion
        with bars.stage("Writing"), writing(folder):
            inversion.save(folder)
    facts = {
        "inversion": str(folder),
        "frames": inversion.num_frames,
        "num_inference_steps": inversion.num_inference_steps,
        "reconstruction_psnr": inversion.reconstruction_psnr,
        "stored_bytes": inversion.stored_bytes,
        "from_cache": prepared.from_cache,
        "seconds": dict(prepared.seconds),
    }
    if json:
        show_json(facts)
        return
    say(str(folder), "bold green")
    quality = inversion.reconstruction_psnr
    say(
        f"  reconstruction {'not measured' if quality is None else f'{quality:.1f} dB'}; {inversion.stored_bytes:,} "
        "bytes"
    )
