"""What commands have in common: flags of ``faircut audit`` and ``faircut bench run``, the folders that others write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from faircut import files
from faircut.cli.console import say

__all__ = [
    "Clip",
    "Device",
    "Dtype",
    "Json",
    "KeepClips",
    "Model",
    "Output",
    "Shard",
    "Steps",
    "named",
    "result_folder",
    "shard_text",
    "show_failures",
]


def named(text: str | Path) -> Path:
    """Read a path that is typed after a flag; an empty one is none, where pathlib takes it for the working folder."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; give a name")
    return Path(text)


Model = Annotated[str, typer.Option("--model", help="Model: pocket, a Stable Diffusion folder, or a name on the hub.")]
Clip = Annotated[str, typer.Option("--clip", help="CLIP that measures: a folder or name; auto is the pocket model's.")]
Steps = Annotated[int, typer.Option("--steps", help="Number of denoising steps, for inversion and edit.")]
KeepClips = Annotated[
    bool,
    typer.Option(
        "--keep-clips", help="Keep all frames of every edit, so that other metrics can measure the same edits."
    ),
]
Shard = Annotated[str, typer.Option("--shard", help="K/N: make only the Kth of N parts of the edits, for N processes.")]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", parser=named, metavar="FOLDER", help="Folder for records, pictures and report."),
]
Json = Annotated[
    Path | None, typer.Option("--json", parser=named, metavar="FILE", help="Also write the figures to this JSON file.")
]
Device = Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="Precision: auto, float32, float16 or bfloat16.")]


def shard_text(shard: tuple[int, int]) -> str:
    """Write a shard as it is typed."""
    return f"{shard[0] + 1}/{shard[1]}"


def show_failures(lines: Iterable[str]) -> None:
    """Print which edits of a run could not be made."""
    for line in lines:
        say(f"  failed: {line}", "yellow")


def result_folder(output: str | None, clip: str, kind: str, inputs: Iterable[str | None] = ()) -> Path:
    """Return the folder that a command writes for a clip: what was named, or ``CLIP.kind``.

    Args:
        output: what was named.
        clip: the clip.
        kind: such as ``"atlas"``.
        inputs: what the command reads.

    Raises:
        ConfigError: it cannot be written, or something would be lost by it.
    """
    if output is not None:
        files.check_name(output, "the output of -o")
    folder = Path(f"{Path(clip).stem}.{kind}" if output is None else output)
    files.check_outputs([files.Output(folder, kind="folder")], inputs)
    return folder
