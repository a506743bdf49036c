"""Write the report of a training: counters and curves, as JSON and as a picture."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from faircut.config.reading import parse_json
from faircut.errors import ConfigError
from faircut.files import GENERATOR, atomic_path, write_json

__all__ = ["read_log", "write_report"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the log of a stage.

    Args:
        path: Path of the .jsonl file.

    Returns:
        The lines in order of steps. Lines that a resumed run wrote again replace the older ones, and a line that was
        cut off when the run was killed is left out.
    """
    if not path.exists():
        return []
    lines: dict[tuple[int, bool], dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ConfigError):
            line = parse_json(text)
            if isinstance(line, dict) and type(line.get("step")) is int:
                lines[line["step"], "loss" in line] = line
    return [lines[key] for key in sorted(lines)]


def write_report(output: Path) -> Path:
    """Write report.json and, if matplotlib is installed, report.png.

    Args:
        output: Folder of the training.

    Returns:
        Path of report.json.
    """
    logs = {p.name: read_log(p / "log.jsonl") for p in sorted((output / "checkpoints").glob("*")) if p.is_dir()}
    logs = {name: lines for name, lines in logs.items() if lines}
    report = {}
    for name, lines in logs.items():
        losses = [line for line in lines if "loss" in line]
        measured = [line for line in lines if "loss" not in line]
        report[name] = {
            "last": losses[-1] if losses else {},
            "measured": measured,
            "curve": [
                {k: line[k] for k in ("samples", "seconds", "loss")} for line in losses[:: max(1, len(losses) // 200)]
            ],
        }
    path = output / "report.json"
    write_json(path, report)
    _plot(logs, output / "report.png")
    return path


def _plot(logs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Plot the smoothed loss and the measured figures over samples, with a panel for each stage."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    if not logs:
        return
    figure = Figure(figsize=(5 * len(logs), 4), layout="constrained")
    for panel, (name, lines) in zip(np.atleast_1d(figure.subplots(1, len(logs))), logs.items(), strict=True):
        losses = [line for line in lines if "loss" in line]
        x, y = [line["samples"] for line in losses], np.array([line["loss"] for line in losses])
        width = max(1, len(y) // 50)
        smooth = np.convolve(y, np.ones(width) / width, mode="valid")
        panel.plot(x[width - 1 :], smooth, color="tab:blue")
        panel.set(title=name, xlabel="samples", ylabel="loss", yscale="log")
        measured = [line for line in lines if "loss" not in line]
        keys = sorted({k for line in measured for k in line if k not in ("step", "samples")})
        if keys:
            figures_axis = panel.twinx()
            for key in keys:
                points = [(line["samples"], line[key]) for line in measured if key in line]
                figures_axis.plot(*zip(*points, strict=True), marker=".", label=key, alpha=0.8)
            figures_axis.legend(fontsize=7, loc="lower right")
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": GENERATOR})
