"""What can be known to be wrong before a model is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from faircut.config.texts import check_prompt
from faircut.edit.request import EditRequest, RunSettings, split_scale
from faircut.errors import ConfigError, VideoError, choices
from faircut.files import Output, check_name, check_outputs
from faircut.methods.base import Method, get_method, method_names
from faircut.model.checkpoints import load_tokenizer, locate
from faircut.prompts import Prompt
from faircut.report.alignment import AlignmentTable, align_table
from faircut.video.write import SUFFIXES

__all__ = [
    "check_method",
    "check_model_steps",
    "check_output",
    "check_prompts",
    "check_source",
    "edit_files",
    "input_files",
    "output_files",
]


def check_prompts(settings: RunSettings, method: Method) -> AlignmentTable:
    """Check prompts and words with the tokenizer alone, before a model is loaded.

    Args:
        settings: of the run.
        method: the editing method.

    Returns:
        What becomes of every word.

    Raises:
        ConfigError: masks are to be saved, and there are none.
        ModelError, PromptError: the model or the prompts cannot be used.
    """
    check_prompt(settings.prompt, "the prompt (-p/--prompt)", required=True)
    check_model_steps(settings.model, settings.num_inference_steps)
    tokenizer = load_tokenizer(settings.model)
    source, target = Prompt.of(settings.source_prompt, tokenizer), Prompt.of(settings.prompt, tokenizer)
    Prompt.of(settings.negative_prompt, tokenizer)
    method.check(source, target)
    table = align_table(source, target, method)
    if settings.save_masks and not table.regions:
        raise ConfigError(f"there are no masks to save: {_everywhere(method)}")
    return table


def _everywhere(method: Method) -> str:
    """Say why a method edits everywhere, and what would change that."""
    if method.region_use == "none":
        bound = [name for name in method_names() if get_method(name).region_use != "none"]
        return f"{method.name} always edits everywhere; leave --save-masks out, or take {', '.join(bound)}"
    return f"{method.name} edits everywhere; say where with --blend SOURCE:TARGET, such as --blend jeep:car"


def check_model_steps(model: str, *counts: int) -> None:
    """Check numbers of steps with what the model was trained for, where it is on this computer.

    Raises:
        ConfigError: there are too many.
        ModelError: the model cannot be used.
    """
    folder = locate(model)
    train: Any = None
    with suppress(OSError, ValueError, AttributeError):
        # What cannot be read is told of when the model is loaded.
        file = None if folder is None else folder / "scheduler" / "scheduler_config.json"
        train = None if file is None else json.loads(file.read_text(encoding="utf-8")).get("num_train_timesteps", 1000)
    for count in counts:
        if isinstance(train, int) and not 1 <= count < train:
            raise ConfigError(f"{count} steps were asked for; give between 1 and {train - 1}, such as 50")


def check_source(settings: RunSettings, *more: str, steps: int | None = None) -> None:
    """Check what an inversion needs with the tokenizer alone, before a model is loaded.

    Args:
        settings: of the run.
        more: further prompts that will be needed.
        steps: of the inversion; by default those of the settings.

    Raises:
        ConfigError, ModelError, PromptError: the steps, the model or a prompt cannot be used.
    """
    check_model_steps(settings.model, settings.num_inference_steps if steps is None else steps)
    tokenizer = load_tokenizer(settings.model)
    for text in (settings.source_prompt, *more):
        Prompt.of(text, tokenizer)


def check_method(settings: RunSettings | EditRequest, method: Method) -> None:
    """Check that the settings let a method have what it needs.

    Raises:
        ConfigError: If the settings contradict the method.
    """
    if method.temporal is not None and settings.temporal not in (None, method.temporal):
        raise ConfigError(
            f"{method.name} needs frames that attend to {', '.join(map(str, method.temporal.frames))} with clip_norm "
            f"{method.temporal.clip_norm}; leave --attend, --least-channels and --per-frame-norm to it"
        )
    if method.null_text and (settings.guidance_scale == 1.0 or settings.negative_prompt):
        raise ConfigError(
            f"{method.name} finds an unconditional embedding for every step, in the negative prompt's place, so that "
            "guidance does not lose the clip; give a guidance other than 1 and no negative prompt"
        )


_BESIDE = {
    "side_by_side": "side_by_side.mp4", "masks": "masks.png", "attention": "attention.png", "settings": "run.yaml",
    "report": "report.json",
}  # fmt: skip


def output_files(output: str | Path, beside: Mapping[str, str] = _BESIDE) -> dict[str, Path]:
    """Return what a run writes, by kind: the clip, and what goes beside it under its stem.

    Args:
        output: where the clip goes.
        beside: by kind, what follows the stem.
    """
    video = Path(output)
    return {"video": video, **{kind: video.parent / f"{video.stem}.{name}" for kind, name in beside.items()}}


def edit_files(settings: RunSettings) -> dict[str, Path]:
    """Return what an edit writes, by kind."""
    unwanted = {"masks": not settings.save_masks, "attention": not settings.save_attention}
    return {kind: path for kind, path in output_files(settings.output).items() if not unwanted.get(kind)}


def input_files(settings: RunSettings) -> list[str]:
    """Return the files and folders that a run reads, as they were given; names on the hub are among them."""
    lora = [split_scale(text)[0] for text in settings.lora]
    given = (settings.clip, settings.model, settings.reader, settings.inversion, *lora)
    return [path for path in given if path is not None]


def check_output(settings: RunSettings, files: Mapping[str, Path]) -> None:
    """Check that the output can be written and replaces nothing that is not ours, before there is anything to write.

    Args:
        settings: of the run.
        files: what will be written, by kind.

    Raises:
        ConfigError, VideoError: If the output cannot be written.
    """
    check_name(settings.output, "the output")
    output = Path(settings.output)
    if output.suffix.lower() not in ("", *SUFFIXES):
        raise VideoError(
            f"cannot write a {output.suffix} file: {choices(output.suffix, SUFFIXES)}; or no suffix, for a folder of "
            "pictures"
        )
    if output.suffix and settings.output.endswith(("/", os.sep)):
        raise VideoError(
            f"{settings.output} ends as a folder does, but {output.suffix} is a file; leave one of them out"
        )
    if not output.name or output.name == "..":
        raise ConfigError(f"the output {settings.output!r} is a folder that is there; name a new one or a file")
    outputs = [
        Output(path, kind="file" if path.suffix or kind != "video" else "folder") for kind, path in files.items()
    ]
    check_outputs(outputs, input_files(settings))
