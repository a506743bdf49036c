"""``faircut study``: which of two methods people prefer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, show_table, writing
from faircut.cli.lazy import Group
from faircut.cli.shared import named

__all__ = ["study"]

study = typer.Typer(
    cls=Group, no_args_is_help=True, help="Ask people which of two edits they prefer, blind, and count."
)


@study.command()
def make(
    file: Annotated[Path, typer.Argument(help="YAML: clips, prompts, and the methods' results.", metavar="YAML")],
    output: Annotated[
        Path, typer.Option("-o", "--output", parser=named, metavar="HTML", help="The page; its key goes beside it.")
    ] = Path("study.html"),
    seed: Annotated[int, typer.Option("--seed", help="Of names, sides and order.")] = 0,
) -> None:
    """Make the page that asks: one HTML file with the clips in it and without the methods' names."""
    from faircut.config.ranges import check_seed
    from faircut.study import load_study, make_study

    check_seed(seed)
    quiet_libraries()
    with Bars() as bars, bars.stage("Making the page"), writing(output):
        key = make_study(load_study(file), file.parent, output, seed=seed)
    say(str(output), "bold green")
    say(f"  key           {output.with_suffix('.key.json')} (keep it to yourself)")
    say(
        f"  study {key.study}: {len(key.items)} clips, {len(key.clips)} results, {output.stat().st_size / 2**20:.1f} "
        "MiB"
    )


@study.command()
def show(
    answers: Annotated[list[Path], typer.Argument(help="The files that participants sent back.")],
    key: Annotated[Path, typer.Option("--key", help="The study's key.", metavar="JSON")],
    json: Annotated[
        str | None, typer.Option("--json", help="File for the result; - prints it and nothing else.", metavar="FILE")
    ] = None,
) -> None:
    """Say how often each method was preferred, with 95% intervals over participants and clips."""
    from faircut.files import Output, check_outputs
    from faircut.study import load_answers, load_key, save_result, summarise

    if json is not None and json != "-":
        check_outputs([Output(json, "--json")], [key, *answers])
    questions = load_key(key)
    result = summarise(load_answers(answers, questions), questions)
    if json == "-":
        show_json(result.to_json())
        return
    _show(result)
    if json is not None:
        with writing(json):
            save_result(result, json)
        say(json, "bold green")


def _show(result: Any) -> None:
    """Print the shares of every question."""
    for question, shares in result.preference.items():
        pairs = result.pairs[question] if len(shares) > 2 else {}
        rows = [
            (name, f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}", str(found.n))
            for name, found in [*shares.items(), *pairs.items()]
            if found.n
        ]
        show_table(("method", "preferred", "95% interval", "n"), rows, "lrrr", title=question)
    say(
        f"{result.answers} answers of {result.participants} participants; n counts what one said of one clip; 0.5 is "
        "chance"
    )
    say(f"the left clip was chosen in {result.left.value:.3f} [{result.left.low:.3f}, {result.left.high:.3f}]")
