"""``faircut evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, show_table, writing

__all__ = ["evaluate"]


def evaluate(
    edited: Annotated[str, typer.Argument(help="Edited clip: a video file, an animation or a folder of pictures.")],
    source: Annotated[str, typer.Option("--source", help="Source clip of the edit.", metavar="CLIP")],
    source_prompt: Annotated[str, typer.Option("-s", "--source-prompt", help="Prompt that describes the source clip.")],
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="Target prompt of the edit.")],
    clip: Annotated[
        str,
        typer.Option(
            "--clip", help="Folder or name of the CLIP that measures; auto is the pocket model's, for drawn clips only."
        ),
    ] = "auto",
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            help="Clip or folder of pictures, bright where the edit belongs.",
            metavar="CLIP",
            show_default=False,
        ),
    ] = None,
    num_frames: Annotated[
        int | None, typer.Option("--frames", help="Evaluate only the first N frames of both.", show_default="all")
    ] = None,
    start: Annotated[
        int, typer.Option("--start", help="First frame of the source that was edited, counted from 0.")
    ] = 0,
    stride: Annotated[
        int,
        typer.Option(
            "--stride", help="Distance between edited frames of the source: 2 if every second frame was edited."
        ),
    ] = 1,
    resize: Annotated[bool, typer.Option("--resize", help="Resize source and mask to the size of the edit.")] = False,
    json: Annotated[
        str | None,
        typer.Option(
            "--json", help="JSON file for the result; - prints the result to stdout and nothing else.", metavar="FILE"
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="HTML file for a report with a table and curves.", metavar="FILE", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Device for CLIP: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Measure an edit made with any tool: agreement with the prompt, consistency, preservation of the source."""
    from faircut.evaluate import EvaluationSettings, run_evaluation, save_evaluation
    from faircut.evaluate.html import write_html
    from faircut.files import Output, check_outputs

    settings = EvaluationSettings(
        edited=edited,
        source=source,
        source_prompt=source_prompt,
        prompt=prompt,
        clip=clip,
        mask=mask,
        num_frames=num_frames,
        start=start,
        stride=stride,
        resize=resize,
        device=device,
    )
    files = {"--json": None if json == "-" else json, "-o": output}
    check_outputs(
        [Output(path, flag) for flag, path in files.items() if path is not None], [edited, source, mask, clip]
    )
    quiet_libraries()
    with Bars(quiet=json == "-") as bars:
        evaluation = run_evaluation(settings, bars)
    if json is not None and json != "-":
        with writing(json):
            save_evaluation(evaluation, json)
    if output is not None:
        with writing(output):
            write_html(evaluation, Path(output))
    if json == "-":
        show_json(evaluation.to_json())
        return
    _show(evaluation)
    for path in (json, output):
        if path is not None:
            say(str(path), "bold green")


def _show(evaluation: Any) -> None:
    """Print every metric for the edit and for the source."""
    from faircut.evaluate import metrics_of

    table = metrics_of("evaluate")
    rows = []
    for name, measure in evaluation.measures.items():
        metric = table[name]
        better = "\u2013" if metric.better == "none" else metric.better
        values = ("\u2013" if value is None else f"{value:.4g}" for value in (measure.value, measure.source))
        rows.append((metric.label, *values, better, metric.meaning))
    show_table(("metric", "edit", "source", "better", "meaning"), rows, "lrrll")
    say(f"CLIP {evaluation.clip['name']} ({evaluation.clip['fingerprint'][:8]}), {evaluation.edited['frames']} frames")
    for note in evaluation.notes:
        say(f"note: {note}", "yellow")
