"""What commands have in common: flags of ``faircut audit`` and ``faircut bench run``, the folders that others write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faircut.errors import ConfigError

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
    "result_folder",
    "shard_text",
]

Model = Annotated[str, typer.Option("--model", help="pocket, a Stable Diffusion folder, or a name.")]
Clip = Annotated[str, typer.Option("--clip", help="The CLIP of the metrics; auto is the pocket model's.")]
Steps = Annotated[int, typer.Option("--steps", help="Of inversion and edit.")]
KeepClips = Annotated[
    bool,
    typer.Option(
        "--keep-clips", help="Keep all frames of every edit: other instruments can then measure the same edits."
    ),
]
Shard = Annotated[
    str, typer.Option("--shard", help="K/N: make only the Kth of N parts of the edits, as one of N processes.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of records, pictures and report.")]
Json = Annotated[Path | None, typer.Option("--json", help="File for the figures.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, float16, bfloat16.")]


def shard_text(shard: tuple[int, int]) -> str:
    """Write a shard as it is typed."""
    return f"{shard[0] + 1}/{shard[1]}"


def result_folder(output: str | None, clip: str, kind: str) -> Path:
    """Return the folder that a command writes for a clip: what was named, or ``CLIP.kind``.

    Raises:
        ConfigError: it is there, and holds something else.
    """
    folder = Path(output or f"{Path(clip).stem}.{kind}")
    if folder.exists() and not (folder / f"{kind}.json").is_file():
        raise ConfigError(f"{folder} is there and holds no {kind}; choose another name with -o")
    return folder
