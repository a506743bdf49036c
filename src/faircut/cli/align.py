"""``faircut align``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from faircut.cli.console import say, show_json, show_table
from faircut.cli.edit import build_settings
from faircut.cli.options import METHOD, MODEL, PROMPTS, flags, to_settings

__all__ = ["align"]

_FLAGS = {"model": MODEL["model"], **{name: METHOD[name] for name in ("method", "flags", "options")}}
_STYLES = {"kept": "", "replaced": "yellow", "added": "green", "dropped": "red"}


@flags(PROMPTS, _FLAGS)
def align(
    given: dict[str, Any],
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Show how a method aligns the words of two prompts, and which of them say where the edit happens."""
    settings = build_settings(to_settings(given, clip="clip"), ("source_prompt", "prompt"))
    from faircut.config.values import to_dict
    from faircut.edit.preflight import check_prompts

    method = settings.build_method()
    result = check_prompts(settings, method)
    if json:
        show_json(to_dict(result))
        return
    rows = []
    for word in result.words:
        tokens = " \u2192 ".join(",".join(map(str, t)) or "\u2013" for t in (word.source_tokens, word.target_tokens))
        region = "" if word.region is None else "yes" if len(result.regions) == 1 else str(word.region + 1)
        rows.append((word.source or "\u2013", word.target or "\u2013", word.fate, tokens, region))
    columns = ("source", "target", "", "tokens", "region")
    show_table(columns, rows, "lllll", [_STYLES[word.fate] for word in result.words])
    kind = result.kind if result.kind != "none" else f"none ({method.name} does not align prompts)"
    used = f"{result.tokens[0]} and {result.tokens[1]} of {result.limit} tokens"
    say(f"alignment {kind}; {used}; {_where(result.regions)}")


def _where(regions: Sequence[Any]) -> str:
    """Say in a clause where an edit happens."""
    made_of = {"masks": "given", "predictions": "made by comparing the predictions under both prompts"}
    masks = [f"made of {', '.join(r.source)}" if r.made_of == "words" else made_of[r.made_of] for r in regions]
    if len(masks) > 1:
        return f"{len(masks)} masks: {'; '.join(masks)}"
    return f"the mask is {masks[0]}" if masks else "there is no mask: all is edited"
