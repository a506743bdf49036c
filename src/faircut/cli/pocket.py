"""``faircut pocket``: train and measure the model that comes with faircut, and draw its world."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from faircut.cli.console import Bars, Display, quiet_libraries, say, show_table
from faircut.cli.lazy import Group
from faircut.cli.shared import Json, named
from faircut.errors import ConfigError, choices

__all__ = ["pocket"]

pocket = typer.Typer(cls=Group, no_args_is_help=True, help="Train and measure the model that comes with faircut.")


@pocket.command()
def train(
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Stage of the training to run; repeatable.", show_default="all of them"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Time limit, counted over all runs in the same folder.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML or JSON file of settings that differ from the defaults.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", parser=named, metavar="FOLDER", help="Folder of data, checkpoints, report and results."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            parser=named,
            metavar="FOLDER",
            help="Folder for the finished model.",
            show_default="OUTPUT/weights",
        ),
    ] = None,
    init_from: Annotated[
        Path | None, typer.Option("--init-from", help="Model folder to start from, in place of random weights.")
    ] = None,
) -> None:
    """Train the pocket model. To continue a stopped training, run the same command again."""
    # Processes that share the cores must not spin while they wait for each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from faircut.config.ranges import check_range
    from faircut.files import Output, check_outputs, folder_outputs
    from faircut.pocket.train.config import load_config
    from faircut.pocket.train.stages import train as run

    if minutes is not None:
        check_range("minutes", minutes, 0, 1_000_000, flag="--minutes", example="60", above=True)
    settings = load_config(config)
    outputs = [] if weights is None else [Output(weights, "--weights", "folder")]
    check_outputs(
        [*outputs, *([] if output is None else folder_outputs(output, ("report.json", "report.png")))], [config]
    )
    try:
        with Bars(counted=False) as bars:
            folder = run(
                settings,
                stage or ["all"],
                output=output,
                minutes=minutes,
                init_from=init_from,
                weights=weights,
                log=Display(bars),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to continue from the last checkpoint") from None
    if (folder / "model_index.json").exists():
        say(str(folder), "bold green")


def _show_part(bars: Bars, name: str, done: float) -> None:
    if bars.shown:
        bars.share(name, done)
    elif done == 0:
        print(f"measuring: {name}", file=sys.stderr, flush=True)


@pocket.command()
def evaluate(
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of a pocket model.", show_default="the shipped one")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", help="Part to measure: vae, judge, clip, generated or editing; repeatable.", show_default="all"
        ),
    ] = None,
    scale: Annotated[
        float, typer.Option("--scale", help="Fraction of the full number of scenes, above 0 and up to 1.")
    ] = 1.0,
    steps: Annotated[int, typer.Option("--steps", help="Number of DDIM steps for generated pictures.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the scenes and the noise.")] = 0,
    device: Annotated[str, typer.Option("--device", help="Device: cpu or cuda.")] = "cpu",
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Generate in bf16, which is faster and changes the pictures slightly.")
    ] = False,
    json: Json = None,
    sheets: Annotated[
        Path | None,
        typer.Option(
            "--sheets",
            parser=named,
            metavar="FOLDER",
            help="Folder for contact sheets of the generated and edited pictures.",
        ),
    ] = None,
) -> None:
    """Measure a pocket model on held-out scenes, and show each figure next to its target."""
    from faircut.benchmark.pocket.figures import PARTS, nested, verdicts
    from faircut.benchmark.pocket.figures import evaluate as measure
    from faircut.benchmark.pocket.model import load_model
    from faircut.config.ranges import check_range, check_seed
    from faircut.edit.preflight import check_model_steps
    from faircut.edit.request import parse_device
    from faircut.files import Output, check_outputs, write_json

    check_range("scale", scale, 0, 1, flag="--scale", example="0.1", above=True)
    check_model_steps("pocket" if model is None else str(model), steps)
    check_seed(seed)
    parse_device(device, "float32")
    for name in part or ():
        if name not in PARTS:
            raise ConfigError(f"unknown part {name!r}: {choices(name, PARTS)}")
    outputs = [] if json is None else [Output(json, "--json")]
    check_outputs([*outputs, *([] if sheets is None else [Output(sheets, "--sheets", "records")])], [model])
    quiet_libraries()
    with Bars(counted=False) as bars:
        figures = measure(
            load_model(model, device, bf16),
            tuple(part or PARTS),
            scale=scale,
            steps=steps,
            seed=seed,
            sheets=sheets,
            log=partial(_show_part, bars),
        )
    rows, styles = [], []
    for name, figure, target, reached in verdicts(figures):
        goal, note = "" if target is None else f"{target:g}", "" if reached else "short"
        rows.append((name, f"{figure.value:.3f}", goal, str(figure.n), note))
        styles.append("" if reached else "yellow")
    show_table(("figure", "value", "target", "n", ""), rows, "lrrrl", styles)
    if json is not None:
        write_json(json, nested(figures))


@pocket.command()
def sheet(
    output: Annotated[Path, typer.Argument(parser=named, metavar="PNG", help="PNG file to write.", show_default=False)],
) -> None:
    """Draw a contact sheet of the world on which the pocket model was trained."""
    from PIL import Image

    from faircut.files import Output, check_outputs, save_picture
    from faircut.pocket.contact_sheet import contact_sheet

    check_outputs([Output(output, "PNG")])
    save_picture(Image.fromarray(contact_sheet()), output, optimize=True)
