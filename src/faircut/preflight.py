"""What can be known to be wrong before a model is loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from faircut.checkpoints import load_tokenizer
from faircut.errors import ConfigError, VideoError, choices
from faircut.prompts import Prompt
from faircut.report.alignment import AlignmentTable, align_table
from faircut.settings import RunSettings
from faircut.video.write import SUFFIXES

__all__ = ["check_method", "check_output", "check_prompts"]


def check_prompts(settings: RunSettings, method: Any) -> AlignmentTable:
    """Check prompts and words with the tokenizer alone, before a model is loaded.

    Returns:
        What becomes of every word.

    Raises:
        ModelError, PromptError: the model or the prompts cannot be used.
    """
    tokenizer = load_tokenizer(settings.model)
    source, target = Prompt.of(settings.source_prompt, tokenizer), Prompt.of(settings.prompt, tokenizer)
    Prompt.of(settings.negative_prompt, tokenizer)
    method.check(source, target)
    if settings.save_masks and not getattr(method, "blend_words", None):
        raise ConfigError("there are no masks to save without blend words; say which words with --blend SOURCE:TARGET")
    return align_table(source, target, method)


def check_method(settings: RunSettings, method: Any) -> None:
    """Check that the settings let a method have what it needs.

    Raises:
        ConfigError: they do not.
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


def check_output(settings: RunSettings) -> None:
    """Check that the output can be written, before there is anything to write."""
    output = Path(settings.output)
    if output.suffix.lower() not in ("", *SUFFIXES):
        raise VideoError(
            f"cannot write a {output.suffix} file: {choices(output.suffix, SUFFIXES)}; or no suffix, for a folder of "
            "pictures"
        )
    if output.suffix and output.is_dir():
        raise VideoError(f"{output} is a folder; name a file in it, such as {output / 'out.mp4'}")
    if Path(settings.clip).exists() and output.exists() and output.samefile(settings.clip):
        raise VideoError(f"the output {output} is the clip itself; choose another name")
    place = output.absolute().parent
    while not place.exists():
        place = place.parent
    try:
        # Permissions do not tell of read-only disks and the like; a file without a name does, and is gone at once.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise VideoError(f"cannot write to {place} ({error.strerror or error}); choose another place with -o") from None
