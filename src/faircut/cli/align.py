"""``faircut align``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from faircut.cli.console import say, show_json, show_table
from faircut.cli.edit import build_settings
from faircut.cli.options import METHOD, MODEL, PROMPTS, flags, to_settings

__all__ = ["align"]

_FLAGS = {"model": MODEL["model"], "method": METHOD["method"]}
_STYLES = {"kept": "", "replaced": "yellow", "added": "green", "dropped": "red"}


@flags(PROMPTS, _FLAGS)
def align(
    given: dict[str, Any],
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Show how the words of two prompts are aligned, and which of them the blend mask is made of."""
    settings = build_settings(to_settings(given, clip="clip"), ("source_prompt", "prompt"))
    from faircut.config.values import to_dict
    from faircut.edit.preflight import check_prompts

    result = check_prompts(settings, settings.build_method())
    if json:
        show_json(to_dict(result))
        return
    rows = []
    for word in result.words:
        tokens = " \u2192 ".join(",".join(map(str, t)) or "\u2013" for t in (word.source_tokens, word.target_tokens))
        rows.append((word.source or "\u2013", word.target or "\u2013", word.fate, tokens, "yes" if word.blend else ""))
    show_table(("source", "target", "", "tokens", "mask"), rows, "lllll", [_STYLES[word.fate] for word in result.words])
    used = f"{result.tokens[0]} and {result.tokens[1]} of {result.limit} tokens"
    say(
        f"alignment {result.kind}; {used}; the mask is made of {', '.join(result.blend_source) or 'no word: all is edited'}"
    )
