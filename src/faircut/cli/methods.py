"""``faircut methods``."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from faircut.cli.console import say, show_json, show_table, show_text

__all__ = ["methods"]

_REGIONS = {
    "none": "none, the edit acts everywhere",
    "optional": "those of the words after --blend; without it, the edit acts everywhere",
    "needed": "those of the words after --blend",
    "computed": "the method finds them itself",
}


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method; without it, all are listed.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the editing methods; with a name, show its paper, what it does, and every option and flag."""
    from faircut.config.values import to_dict
    from faircut.methods.catalogue import facts_of, list_methods

    if name is not None:
        facts = facts_of(name)
        if json:
            show_json(to_dict(facts))
        else:
            _show(facts)
        return
    listed = list_methods()
    if json:
        show_json([to_dict(facts) for facts in listed])
        return
    rows = []
    for facts in listed:
        needs = (*(["words that say where (optional)"] if facts.regions == "optional" else []), *facts.needs)
        rows.append((facts.name, facts.title, facts.paper, "; ".join(needs)))
    show_table(("method", "what", "paper", "needs"), rows, "llll")
    say("faircut methods NAME shows a method's options; faircut edit --method NAME uses it")


def _show(facts: Any) -> None:
    """Print the facts of a method."""
    say(f"{facts.name}: {facts.title}", "bold green")
    if facts.paper:
        say(f"  {facts.paper}")
    for text in (facts.summary, *facts.text):
        show_text("\n" + textwrap.fill(text, 110))
    say("")
    default = next((f"; default {o.cli_default}" for o in facts.options if o.flag == "--blend" and o.cli_default), "")
    say(f"Regions: {_REGIONS[facts.regions]}{default if facts.regions == 'needed' else ''}")
    if facts.needs:
        say(f"Needs: {'; '.join(facts.needs)}")
    say("")
    say("Options:" if facts.options else "It has no options.")
    for option in facts.options:
        say(f"  {option.name}  ({option.set or 'from Python only'})")
        takes = option.type if option.set else "arrays"
        for line in (f"takes {option.takes or takes}; {_default(option)}", option.meaning):
            show_text(textwrap.indent(textwrap.fill(line, 100), "      "))
    if facts.flags:
        say("")
        say("More flags:")
    for flag in facts.flags.values():
        say(f"  {flag.syntax}  (sets {flag.sets})")
        line = "; ".join(
            (
                *([f"takes {flag.takes}"] if flag.takes else []),
                *([f"default {flag.cli_default}"] * bool(flag.cli_default)),
            )
        )
        if line:
            show_text(textwrap.indent(textwrap.fill(line, 100), "      "))


def _default(option: Any) -> str:
    """Return the default on the command line, and Python's where it differs."""
    if option.cli_default is None:
        return "must be given" if option.needed else f"default {_text(option.default)}"
    if option.cli_default == "must be given":
        return option.cli_default
    python = "must be given" if option.needed else _text(option.default)
    return f"default {option.cli_default} (in Python: {python})"


def _text(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
