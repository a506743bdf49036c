"""``faircut study``: ask people which of two methods they prefer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.cli.console import Bars, quiet_libraries, say, show_json, show_table, writing
from faircut.cli.lazy import Group
from faircut.cli.shared import named

__all__ = ["study"]

study = typer.Typer(cls=Group, no_args_is_help=True, help="Run a blind user study of which edits people prefer.")


@study.command()
def make(
    file: Annotated[
        Path, typer.Argument(help="YAML file with clips, prompts, and the results of each method.", metavar="YAML")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", parser=named, metavar="HTML", help="HTML page to write; its key is written next to it."
        ),
    ] = Path("study.html"),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the clips' names, their sides and their order.")] = 0,
) -> None:
    """Write the page of the study: one HTML file that contains the clips, but not the methods' names."""
    from faircut.config.ranges import check_seed
    from faircut.study import load_study, make_study

    check_seed(seed)
    quiet_libraries()
    with Bars() as bars, bars.stage("Making the page"), writing(output):
        key = make_study(load_study(file), file.parent, output, seed=seed)
    say(str(output), "bold green")
    say(f"  key           {output.with_suffix('.key.json')} (do not give it to participants)")
    say(
        f"  study {key.study}: {len(key.items)} clips, {len(key.clips)} results, {output.stat().st_size / 2**20:.1f} "
        "MiB"
    )


@study.command()
def show(
    answers: Annotated[list[Path], typer.Argument(help="Answer files that participants sent back.")],
    key: Annotated[
        Path, typer.Option("--key", help="Key of the study, which was written next to its page.", metavar="JSON")
    ],
    json: Annotated[
        str | None,
        typer.Option(
            "--json", help="JSON file for the result; - prints the result to stdout and nothing else.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Show how often each method was preferred, with 95% intervals over participants and clips."""
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
    """Print each method's share of preferences, question by question."""
    for question, shares in result.preference.items():
        pairs = result.pairs[question] if len(shares) > 2 else {}
        rows = [
            (name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}", str(estimate.n))
            for name, estimate in [*shares.items(), *pairs.items()]
            if estimate.n
        ]
        show_table(("method", "preferred", "95% interval", "n"), rows, "lrrr", title=question)
    say(
        f"{result.answers} answers of {result.participants} participants; "
        "n counts pairs of participant and clip; 0.5 is chance"
    )
    say(f"the left clip was chosen in {result.left.value:.3f} [{result.left.low:.3f}, {result.left.high:.3f}]")
