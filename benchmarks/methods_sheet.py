"""What every method of a benchmark made of the same clips: ``python benchmarks/methods_sheet.py BENCH OUT.webp``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw

from faircut.benchmark.edits.contestants import CONTESTANTS
from faircut.benchmark.edits.jobs import BenchRecord
from faircut.benchmark.edits.task_files import load_edits
from faircut.config.values import from_dict
from faircut.pocket.pictures import to_pixels

LABEL, LINE = 110, 14


def sheet(folder: Path, benchmark: str, limit: int) -> Image.Image:
    """Draw a row for each method and a column for each of the first items, the source above them all."""
    items = load_edits(benchmark).limited(limit)
    records = [
        from_dict(BenchRecord, json.loads(path.read_text())) for path in sorted((folder / "records").glob("*.json"))
    ]
    made = {(record.method, record.item): record for record in records}
    methods = [name for name in CONTESTANTS if any(method == name for method, _ in made)]
    rows: list[tuple[str, list[Image.Image | None]]] = [("source", [])]
    for item in items.items:
        frames = to_pixels(items.load(item).frames)
        count = len(frames)
        strip = Image.new("RGB", (3 * frames.shape[2], frames.shape[1]))
        for place, index in enumerate((0, count // 2, count - 1)):
            strip.paste(Image.fromarray(frames[index]), (place * frames.shape[2], 0))
        rows[0][1].append(strip)
    for method in methods:
        cells: list[Image.Image | None] = []
        for item in items.items:
            record = made.get((method, item.name))
            if record is None:
                cells.append(None)
                continue
            both = Image.open(folder / "records" / f"{record.key}.webp").convert("RGB")
            cells.append(both.crop((0, both.height // 2, both.width, both.height)))
        rows.append((method, cells))
    width, height = rows[0][1][0].size if rows[0][1][0] is not None else (384, 128)
    page = Image.new("RGB", (LABEL + len(items.items) * (width + 6), LINE + len(rows) * (height + 4)), "white")
    pen = ImageDraw.Draw(page)
    for column, item in enumerate(items.items):
        pen.text((LABEL + column * (width + 6), 0), f"{item.source_prompt} -> {item.prompt}"[:62], fill="black")
    for row, (name, cells) in enumerate(rows):
        pen.text((4, LINE + row * (height + 4) + height // 2), name, fill="black")
        for column, cell in enumerate(cells):
            if cell is not None:
                page.paste(cell, (LABEL + column * (width + 6), LINE + row * (height + 4)))
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of faircut bench run")
    parser.add_argument("output", type=Path)
    parser.add_argument("--benchmark", default="pocket-edit")
    parser.add_argument("--limit", type=int, default=3, help="items, as faircut bench run --limit takes them")
    arguments = parser.parse_args()
    sheet(arguments.folder, arguments.benchmark, arguments.limit).save(arguments.output, quality=82)
