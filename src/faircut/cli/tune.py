"""``faircut tune`` and ``faircut tune convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, Display, quiet_libraries, say, show_json
from faircut.cli.lazy import Group
from faircut.cli.options import CLIP, MODEL, flags, to_settings

__all__ = ["tune"]


class _ClipFirst(Group):
    """``faircut tune CLIP ...`` is ``faircut tune clip CLIP ...``; only ``convert`` is called by its name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name in front of what is no command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["clip", *args])


tune = typer.Typer(cls=_ClipFirst, help="Tune a model to one clip (Tune-A-Video), or convert a published checkpoint.")

_FLAGS = {name: MODEL[name] for name in ("model", "device")}


@flags(CLIP, _FLAGS)
def _clip(
    given: dict[str, Any],
    clip: Annotated[str, typer.Argument(help="A video file, an animation or a folder of pictures.")],
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="What the clip shows.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="The folder of the tuned model (default: CLIP.tuned).", show_default=False),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Number of training steps.")] = 500,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Learning rate.", show_default="3e-5; more for a small model")
    ] = None,
    validate: Annotated[
        list[str] | None, typer.Option("--validate", help="Edit the clip with this prompt during training; repeatable.")
    ] = None,
    validate_every: Annotated[
        int, typer.Option("--validate-every", help="Training steps between validation edits.")
    ] = 100,
    validation_steps: Annotated[
        int, typer.Option("--validation-steps", help="Denoising steps of validation edits.")
    ] = 50,
    guidance: Annotated[float, typer.Option("--guidance", help="Classifier-free guidance of validation edits.")] = 7.5,
    no_temporal_layers: Annotated[
        bool, typer.Option("--no-temporal-layers", help="Train only attention weights; add no temporal layers.")
    ] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Compute in bfloat16; weights stay in float32.")] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Use less memory and about a third more time.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the noise and of new layers.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start again even if the folder holds a training run.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Tune a model to one clip; the same command again goes on where the last one stopped.

    "faircut tune convert CHECKPOINT -o FOLDER" makes a model of a published Tune-A-Video checkpoint.
    """
    folder = Path(f"{Path(clip).stem}.tuned" if output is None else output)
    known = to_settings(given, clip=clip, prompt=prompt, source_prompt=prompt, output=str(folder))
    from faircut.config.texts import check_prompt
    from faircut.config.values import from_dict
    from faircut.edit.preflight import check_source, input_files
    from faircut.edit.request import RunSettings, parse_device
    from faircut.edit.run import read_clip
    from faircut.edit.session import load_editor
    from faircut.files import Output, check_outputs
    from faircut.tune import TuneSettings
    from faircut.tune import tune as run

    settings = TuneSettings(
        steps=steps,
        learning_rate=lr,
        temporal_layers=not no_temporal_layers,
        seed=seed,
        precision="bfloat16" if bfloat16 else "float32",
        gradient_checkpointing=gradient_checkpointing,
        validation_prompts=tuple(validate or ()),
        validate_every=validate_every,
        validation_steps=validation_steps,
        guidance_scale=guidance,
    )
    source = from_dict(RunSettings, known, "the run")
    parse_device(source.device, "float32")
    check_prompt(prompt, "the prompt (-p/--prompt)", required=True)
    quiet_libraries()
    check_outputs([Output(folder, kind="records")], input_files(source))
    check_source(source, *settings.validation_prompts, steps=validation_steps if validate else 1)
    try:
        with Bars(quiet=json, counted=False) as bars:
            video = read_clip(source)
            with bars.stage("Loading the model"):
                editor = load_editor(source.model, source.lora, source.device, "float32")
            tuned = run(editor, video, prompt, settings, folder, fresh=fresh, log=Display(bars, quiet=json))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from the last checkpoint") from None
    if json:
        clips = [str(path) for path in tuned.validations]
        facts = {"model": str(folder), "step": tuned.step, "loss": tuned.loss, "seconds": tuned.seconds}
        show_json({**facts, "validations": clips})
        return
    say(str(folder), "bold green")
    quality = "nothing was left to do" if tuned.loss is None else f"loss {tuned.loss:.4f}"
    say(f"  {tuned.step} steps in {tuned.seconds:.0f} s; {quality}")
    for path in tuned.validations:
        say(f"  {path}")


tune.command("clip", hidden=True)(_clip)


@tune.command()
def convert(
    checkpoint: Annotated[str, typer.Argument(help="The folder of a published Tune-A-Video checkpoint.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The folder of the model.", show_default=False)],
) -> None:
    """Make a model that faircut and diffusers load of a published Tune-A-Video checkpoint."""
    from faircut.tune import convert as run

    quiet_libraries()
    say(str(run(checkpoint, output)), "bold green")
