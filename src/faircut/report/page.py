"""Pages that hold all they show: one style, text made safe, plots and pictures inside."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faircut.files import GENERATOR, write_text

__all__ = ["figure", "image", "picture", "text", "write_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
table { border-collapse: collapse; margin: .8rem 0 1.6rem } td, th { padding: .25rem .7rem; text-align: right }
th { border-bottom: 1px solid #9aa4b5 } td:first-child, th:first-child, .left { text-align: left }
tr:nth-child(even) td { background: #f3f5f9 } small { color: #5b6577 } img { max-width: 100% }
figure { display: inline-block; margin: .4rem; vertical-align: top; max-width: 26rem }
figcaption { font-size: 12px; color: #5b6577 }
"""


def write_page(title: str, parts: Iterable[str], path: str | Path) -> Path:
    """Write a page, whole or not at all.

    Args:
        title: of the window.
        parts: HTML.
        path: where.

    Returns:
        The path.
    """
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='generator' content='{GENERATOR}'>"
        f"<title>{text(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    return write_text(path, page)


def text(value: Any) -> str:
    """Return a value as text that a page may hold."""
    return html.escape(str(value))


def figure(width: float, height: float) -> Any:
    """Return an empty matplotlib Figure, in inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def image(drawn: Any, caption: str) -> str:
    """Return a matplotlib Figure as HTML, with its caption."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<p><img src='data:image/png;base64,{data}' alt='{text(caption)}'><br><small>{text(caption)}</small></p>"


def picture(path: Path, caption: str) -> str:
    """Return a WebP file as HTML, with its caption; nothing if it is not there."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<figure><img src='data:image/webp;base64,{data}' alt=''><figcaption>{text(caption)}</figcaption></figure>"
