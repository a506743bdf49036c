"""Self-contained HTML pages: one style, escaped text, embedded plots and pictures."""

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
    """Write a page, completely or not at all.

    Args:
        title: Title of the page.
        parts: HTML of the body.
        path: Path of the file.

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
    """Return a value as escaped HTML text."""
    return html.escape(str(value))


def figure(width: float, height: float) -> Any:
    """Return an empty matplotlib Figure of a size in inches that works without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas_figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas_figure)
    return canvas_figure


def image(plot: Any, caption: str) -> str:
    """Return a matplotlib Figure as an HTML image with a caption."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<p><img src='data:image/png;base64,{data}' alt='{text(caption)}'><br><small>{text(caption)}</small></p>"


def picture(path: Path, caption: str) -> str:
    """Return a WebP file as an HTML image with a caption, or empty text if the file does not exist."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<figure><img src='data:image/webp;base64,{data}' alt=''><figcaption>{text(caption)}</figcaption></figure>"
