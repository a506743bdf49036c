"""``faircut sweep``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_table
from faircut.cli.edit import build_settings
from faircut.cli.options import CLIP, METHOD, MODEL, PROMPTS, flags, to_settings
from faircut.cli.shared import Json, Output, show_failures
from faircut.cli.typed import value_of
from faircut.errors import ConfigError

__all__ = ["sweep"]


@flags(PROMPTS, CLIP, MODEL, METHOD)
def sweep(
    given: dict[str, Any],
    clip: Annotated[
        str | None, typer.Argument(help="A video file, an animation or a folder of pictures.", show_default=False)
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            help="Values for one of the method's options; repeatable, then every combination is edited. NAME.KEY sets "
            "one entry of an option such as reweight.",
            metavar="OPTION=VALUE,VALUE,...",
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str, typer.Option("--clip-model", help="Folder or name of the CLIP that measures; auto is the pocket model's.")
    ] = "auto",
    agreement: Annotated[str, typer.Option("--agreement", help="Metric for agreement with the prompt.")] = "clip_t",
    consistency: Annotated[str, typer.Option("--consistency", help="Metric for consistency.")] = "tem_con",
    output: Output = Path("sweep"),
    json: Json = None,
) -> None:
    """Edit a clip with many option values, and find the best trade-offs between consistency and agreement.

    To continue a stopped sweep, run the same command again: it makes only what the output folder lacks.
    """
    settings = build_settings(to_settings(given, clip=clip))
    values = dict(_values(text) for text in over or ())
    from faircut import files
    from faircut.benchmark.results import write_result
    from faircut.benchmark.sweep import combinations, run_sweep, with_options
    from faircut.edit.preflight import check_method, check_prompts, input_files

    count = len(combinations(values))
    names = ("sweep.json", "sweep.html", *(f"front-{number + 1}.mp4" for number in range(count)))
    figures = [] if json is None else [files.Output(json, "--json")]
    files.check_outputs([*files.folder_outputs(output, names), *figures], [*input_files(settings), judge])
    for options in combinations(values):
        changed = replace(settings, method=with_options(settings.method, options))
        method = changed.build_method()
        check_method(changed, method)
        check_prompts(changed, method)
    quiet_libraries()
    with Bars() as bars:
        result = run_sweep(
            settings, values, output, clip=judge, agreement=agreement, consistency=consistency, stage=bars.stage
        )
    if json is not None:
        write_result(result, json)
    _show(result)
    say(str(output / "sweep.html"), "bold green")


def _values(text: str) -> tuple[str, list[Any]]:
    name, equals, rest = text.partition("=")
    values = [value_of(part) for part in rest.split(",")] if equals else []
    if not name or not values or None in values:
        raise ConfigError(
            f"--over {text!r} does not have the form OPTION=VALUE,VALUE; give one, such as "
            "cross_replace_steps=0.2,0.5,0.8"
        )
    return name, values


def _show(sweep: Any) -> None:
    """Print the edits on the Pareto front."""
    from faircut.evaluate import metrics_of

    table, names = metrics_of("evaluate"), list(sweep.points[0].options)
    columns = (*names, table[sweep.agreement].label, table[sweep.consistency].label)
    rows = []
    for point in sweep.points:
        if point.front:
            figures = (f"{point.figures[name]:.4f}" for name in (sweep.agreement, sweep.consistency))
            rows.append((*(str(point.options[name]) for name in names), *figures))
    show_table(columns, rows, "r" * len(columns), title="Best trade-offs (Pareto front)")
    show_failures(sweep.failed)
