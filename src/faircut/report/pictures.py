"""Pictures of a run: the source's attention to each word, the blend masks, and enlarged clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional as F

from faircut.attention.context import Step
from faircut.attention.controller import Controller
from faircut.attention.masks import blend_mask, token_map
from faircut.controllers.regions import mask_layers
from faircut.methods.base import EditTask, Method, Start
from faircut.prompts import phrases

__all__ = [
    "MapCapture",
    "Watched",
    "draw_heat_maps",
    "draw_masks",
    "draw_pairs",
    "enlarge_small",
    "fit_for_players",
    "tile",
]

_SMALLEST = 256  # Pictures lower than this are enlarged to be looked at.
_COLUMNS, _ROWS = 8, 8
_STRIP = 22


class MapCapture(Controller):
    """Watches the source's cross-attention while an edit runs; changes nothing.

    Args:
        task: the edit.
        blend_words: the source words of the blend mask; empty for no masks.
        threshold: of the mask.
        count: how many steps to keep masks of, evenly spread.
    """

    branches = ()  # It only looks at the source once a step has ended.

    def __init__(self, task: EditTask, blend_words: Sequence[str], threshold: float, count: int = _ROWS) -> None:
        self.source, self.grid, self.threshold = task.source_attention, task.latent_grid, threshold
        self.layers = mask_layers(task.layers, task.latent_grid)
        self.words = {w.text: task.source.find(w.text) for w in task.source.words if w.tokens and w.text[0].isalnum()}
        self.blend_tokens = [token for word in blend_words for token in task.source.find(word)]
        self.mask_steps = set(np.linspace(0, task.steps - 1, min(count, task.steps)).round().astype(int).tolist())
        self.masks: dict[int, torch.Tensor] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def uses_source(self, index: int) -> bool:
        """Always: the maps are averages over all steps."""
        return True

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Add this step's maps up, and keep its mask if it is one of the chosen."""
        probs = [self.source.probs(layer) for layer in self.layers]
        grid = self.layers[0].grid(self.grid)
        for word, tokens in self.words.items():
            maps = token_map(probs, tokens, grid).float().cpu()
            self._sums[word] = self._sums[word] + maps if word in self._sums else maps
        self._steps += 1
        if self.blend_tokens and step.index in self.mask_steps:
            self.masks[step.index] = blend_mask(
                token_map(probs, self.blend_tokens, grid), self.grid, self.threshold
            ).cpu()
        return latents

    def maps(self) -> dict[str, torch.Tensor]:
        """Return the attention to each source word, averaged over steps, (frame, height, width)."""
        return {word: total / max(1, self._steps) for word, total in self._sums.items()}


@dataclass
class Watched(Method):
    """A method with a `MapCapture` beside its own controllers.

    Attributes:
        method: the method.
        capture: what it saw, once the edit has run.
    """

    name: ClassVar[str] = "watched"

    method: Any

    def __post_init__(self) -> None:
        # No field: it is what came of a run, not a setting of it.
        self.capture: MapCapture | None = None
        for trait in ("temporal", "source_level", "reference", "null_text"):
            setattr(self, trait, getattr(self.method, trait))

    def check(self, source: Any, target: Any) -> None:
        """Check as the method does."""
        self.method.check(source, target)

    def start(self, task: EditTask) -> Start:
        """Begin as the method does."""
        return self.method.start(task)

    def embedding(self, task: EditTask) -> torch.Tensor:
        """Condition as the method does."""
        return self.method.embedding(task)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Return the method's controllers and the capture."""
        pair = getattr(self.method, "blend_words", None)
        words = phrases(pair[0]) if pair else ()
        self.capture = MapCapture(task, words, getattr(self.method, "blend_threshold", 0.3))
        return [*self.method.controllers(task), self.capture]


def draw_heat_maps(frames: torch.Tensor, maps: Mapping[str, torch.Tensor]) -> Image.Image:
    """Draw the attention to each word over the frames: a row a word, a column a frame.

    Args:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        maps: by word, (frame, height', width'), 0 or more; each word is scaled from its own lowest to its own highest value.

    Returns:
        The picture.
    """
    rows = []
    for word, values in maps.items():
        least, most = values.aminmax()
        heat = ((values - least) / (most - least).clamp(min=1e-12))[:, None]
        rows.append((word, [_glow(frame, part) for frame, part in zip(frames, _resize(heat, frames), strict=True)]))
    return _sheet(rows)


def draw_masks(frames: torch.Tensor, masks: Mapping[int, torch.Tensor]) -> Image.Image:
    """Draw the blend masks over the frames: a row a step, a column a frame; what is kept from the source is dimmed.

    Args:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        masks: by step, (frame, height', width'), bool: True is generated anew.

    Returns:
        The picture.
    """
    rows = []
    for step, mask in sorted(masks.items()):
        shares = F.interpolate(mask[:, None].float(), size=frames.shape[-2:])
        pairs = zip(frames, shares, strict=True)
        shown = [frame * share + (frame * 0.35 - 0.55) * (1 - share) for frame, share in pairs]
        rows.append((f"step {step}, {float(mask.float().mean()):.0%} edited", shown))
    return _sheet(rows)


def enlarge_small(frames: torch.Tensor) -> torch.Tensor:
    """Enlarge frames that are too small to look at by a whole factor; leave others alone.

    Args:
        frames: (frame, 3, height, width), in [-1, 1].

    Returns:
        The same, at least 256 pixels high where a factor of up to 4 does it.
    """
    factor = min(4, -(-_SMALLEST // frames.shape[-2]))
    if factor <= 1:
        return frames
    return F.interpolate(frames, scale_factor=factor, mode="bicubic").clamp(-1, 1)


def fit_for_players(frames: torch.Tensor) -> torch.Tensor:
    """Make frames fit to be looked at in any player: large enough, and of even sides.

    Args:
        frames: (frame, 3, height, width), in [-1, 1].

    Returns:
        The same, enlarged as `enlarge_small` does, an odd side longer by a repeated line.
    """
    frames = enlarge_small(frames)
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, width % 2, 0, height % 2), mode="replicate")


def _resize(maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    return F.interpolate(maps, size=frames.shape[-2:], mode="bilinear", align_corners=False)


def _glow(frame: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Lay heat, (1, height, width) in [0, 1], over a frame: dark, red, yellow, white."""
    colour = torch.cat([(heat * 3).clamp(0, 1), (heat * 3 - 1).clamp(0, 1), (heat * 3 - 2).clamp(0, 1)]) * 2 - 1
    grey = frame.mean(dim=0, keepdim=True).expand(3, -1, -1)
    return 0.45 * grey + 0.55 * colour


def _sheet(rows: Sequence[tuple[str, Sequence[torch.Tensor]]], most: int = 160) -> Image.Image:
    """Put rows of pictures, (3, height, width) in [-1, 1], under each other, each under its name."""
    first = rows[0][1]
    columns = np.linspace(0, len(first) - 1, min(len(first), _COLUMNS)).round().astype(int)
    height, width = first[0].shape[-2:]
    scale = most / height if height > most else max(1.0, most // height)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("RGB", (cell[0] * len(columns), (cell[1] + _STRIP) * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for r, (name, pictures) in enumerate(rows):
        top = r * (cell[1] + _STRIP)
        draw.text((4, top + _STRIP / 2), name, fill="black", font=font, anchor="lm")
        for c, index in enumerate(columns):
            pixels = ((pictures[index].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
            picture = Image.fromarray(np.ascontiguousarray(pixels)).resize(cell, Image.Resampling.BICUBIC)
            sheet.paste(picture, (c * cell[0], top + _STRIP))
    return sheet


def tile(pictures: Sequence[Image.Image], columns: int = 2, gap: int = 12) -> Image.Image:
    """Put pictures of one size beside and under each other.

    Args:
        pictures: at least one.
        columns: how many beside each other, at most.
        gap: between them, in pixels.

    Returns:
        The picture.
    """
    columns = min(columns, len(pictures))
    width, height = max(p.width for p in pictures) + gap, max(p.height for p in pictures) + gap
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (width * columns - gap, height * rows - gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    return sheet


def draw_pairs(source: torch.Tensor, edited: torch.Tensor, labels: tuple[str, str], columns: int = 4) -> Image.Image:
    """Draw a clip above its edit, some frames of each.

    Args:
        source: (frame, 3, height, width), RGB in [-1, 1].
        edited: the same shape.
        labels: a line of text for each.
        columns: how many frames, evenly spread.

    Returns:
        The picture.
    """
    chosen = np.linspace(0, len(source) - 1, min(columns, len(source))).round().astype(int).tolist()
    pairs = zip(labels, (source, edited), strict=True)
    return _sheet([(label, list(enlarge_small(clip[chosen]))) for label, clip in pairs], 256)
