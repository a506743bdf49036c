"""``faircut methods``."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from faircut.cli.console import say, show_json, show_table, show_text

__all__ = ["methods"]

_REGIONS = {"none": "edits everywhere", "optional": "where asked", "needed": "must be given", "computed": "finds them"}


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method; without one, all are listed.", show_default=False)
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
    """Print what there is to know of a method."""
    say(f"{facts.name}: {facts.title}", "bold green")
    if facts.paper:
        say(f"  {facts.paper}")
    for text in (facts.summary, *facts.text):
        show_text("\n" + textwrap.fill(text, 110))
    say("")
    say(f"Regions: {_REGIONS[facts.regions]}")
    if facts.needs:
        say(f"Needs: {'; '.join(facts.needs)}")
    say("")
    say("Options:" if facts.options else "It has no options.")
    for option in facts.options:
        default = "must be given" if option.needed else f"default {_text(option.default)}"
        say(f"  {option.name}  ({option.flag or f'--set {option.name}=VALUE'})")
        for line in (f"takes {option.type}; {default}", option.meaning):
            show_text(textwrap.indent(textwrap.fill(line, 100), "      "))
    for flag, target in facts.flags.items():
        say(f"  {flag}  (sets {target})")


def _text(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
