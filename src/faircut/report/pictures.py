"""Pictures of a run: the source's attention to each word, the masks of the edit, and enlarged clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch.nn import functional as F

from faircut.attention.controller import Controller
from faircut.attention.masks import blend_mask, token_map
from faircut.attention.source import RecordedSource
from faircut.controllers.latents import MaskBlend
from faircut.controllers.regions import Region, mask_layers
from faircut.errors import ConfigError
from faircut.methods.base import EditRegion, EditTask, Method, Watcher
from faircut.methods.regions import region_of

__all__ = [
    "MapCapture",
    "draw_heat_maps",
    "draw_masks",
    "draw_pairs",
    "enlarge_small",
    "fit_for_players",
    "tile",
]

_MIN_HEIGHT = 256  # Pictures lower than this, in pixels, are enlarged for viewing.
_COLUMNS, _ROWS = 8, 8
# Distinguishable with most kinds of colour blindness, and dark enough for text (Okabe and Ito, 2008).
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_STRIP = 22


class MapCapture(Watcher):
    """Records the source's cross-attention and the masks of an edit while it runs.

    Args:
        count: Number of steps whose masks are recorded, evenly spaced.

    Attributes:
        regions: Names of the regions that the edit is restricted to.
        masks: By step, (region, frame, height, width), bool, on the CPU; True inside the region.
    """

    def __init__(self, count: int = _ROWS) -> None:
        self.count = count
        self.regions: tuple[str, ...] = ()
        self.masks: dict[int, torch.Tensor] = {}
        self._masks: list[Callable[[RecordedSource], torch.Tensor]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def attach(self, task: EditTask, method: Method, controllers: Sequence[Controller], first: int) -> None:
        """Find the words of the source prompt and the regions of the edit."""
        self.grid = task.latent_grid
        self.layers = mask_layers(task.layers, task.latent_grid)
        self.words = {w.text: task.source.find(w.text) for w in task.source.words if w.tokens and w.text[0].isalnum()}
        steps = np.linspace(first, task.steps - 1, min(self.count, task.steps - first)).round().astype(int)
        self.mask_steps = set(steps.tolist())
        regions = method.edit_regions(task.source, task.target)
        self.regions = tuple(", ".join(region.source) or f"region {n + 1}" for n, region in enumerate(regions))
        self._masks = [self._mask_of(task, method, region, controllers) for region in regions]

    def _mask_of(
        self, task: EditTask, method: Method, region: EditRegion, controllers: Sequence[Controller]
    ) -> Callable[[RecordedSource], torch.Tensor]:
        """Return a function that computes the mask of a region: ``source -> (frame, height, width)``, bool."""
        if region.made_of == "words":
            return lambda source: blend_mask(
                token_map(self._probs(source), region.source_tokens, self._layer_grid), self.grid, region.threshold
            )
        if region.made_of == "masks":
            fixed: Region = region_of(task, region)
        else:
            # The method computes the region itself and blends with it.
            blends = [controller for controller in controllers if isinstance(controller, MaskBlend)]
            if not blends:
                raise ConfigError(
                    f"{method.name} shows no masks of the region that it computes; leave --save-masks out"
                )
            fixed = blends[0].region
        return lambda source: fixed.mask(self.grid)

    @property
    def _layer_grid(self) -> tuple[int, int]:
        return self.layers[0].grid(self.grid)

    def _probs(self, source: RecordedSource) -> list[torch.Tensor]:
        return [source.probs(layer) for layer in self.layers]

    def uses_source(self, index: int) -> bool:
        """Return True: the maps are averages over all steps."""
        return True

    def on_source(self, index: int, source: RecordedSource) -> None:
        """Add the maps of this step to the sums, and record the masks if this is one of the selected steps."""
        probs = self._probs(source)
        for word, tokens in self.words.items():
            maps = token_map(probs, tokens, self._layer_grid).float().cpu()
            self._sums[word] = self._sums[word] + maps if word in self._sums else maps
        self._steps += 1
        if self._masks and index in self.mask_steps:
            self.masks[index] = torch.stack([mask(source) for mask in self._masks]).cpu()

    def maps(self) -> dict[str, torch.Tensor]:
        """Return the attention to each source word, averaged over steps, (frame, height, width)."""
        return {word: total / max(1, self._steps) for word, total in self._sums.items()}


def draw_heat_maps(frames: torch.Tensor, maps: Mapping[str, torch.Tensor]) -> Image.Image:
    """Draw the attention to each word over the frames, one row per word and one column per frame.

    Args:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        maps: By word, (frame, height', width'), 0 or more. Each word is scaled from its lowest to its highest value.

    Returns:
        The picture.
    """
    rows = []
    for word, values in maps.items():
        least, most = values.aminmax()
        heat = ((values - least) / (most - least).clamp(min=1e-12))[:, None]
        rows.append((word, [_glow(frame, part) for frame, part in zip(frames, _resize(heat, frames), strict=True)]))
    return _sheet(rows)


def draw_masks(frames: torch.Tensor, masks: Mapping[int, torch.Tensor], names: Sequence[str] = ()) -> Image.Image:
    """Draw the regions of an edit over the frames, one row per step and one column per frame. Everything else is
    dimmed.

    If there are several regions, each one is tinted in the colour of its name.

    Args:
        frames: (frame, 3, height, width), RGB in [-1, 1].
        masks: By step, (region, frame, height', width'), bool; True inside the region.
        names: Names of the regions in the order of the masks. Required if there are several.

    Returns:
        The picture.
    """
    rows: list[tuple[Sequence[tuple[str, str]], Sequence[torch.Tensor]]] = []
    for step, regions in sorted(masks.items()):
        label = [(f"step {step}, {float(regions.any(0).float().mean()):.0%} edited", "black")]
        # (region, frame, 1, height, width), 0 and 1.
        shares = torch.stack([F.interpolate(mask[:, None].float(), size=frames.shape[-2:]) for mask in regions])
        tinted = frames
        if len(regions) > 1:
            for number, (share, name) in enumerate(zip(shares, names, strict=True)):
                colour = _COLOURS[number % len(_COLOURS)]
                tint = torch.tensor(ImageColor.getrgb(colour))[:, None, None] / 127.5 - 1
                tinted = tinted * (1 - 0.4 * share) + tint * (0.4 * share)
                label.append((f"   {name} {float(regions[number].float().mean()):.0%}", colour))
        pairs = zip(frames, tinted, shares.amax(0), strict=True)
        pictures = [inside * share + (frame * 0.35 - 0.55) * (1 - share) for frame, inside, share in pairs]
        rows.append((label, pictures))
    return _sheet(rows)


def enlarge_small(frames: torch.Tensor) -> torch.Tensor:
    """Enlarge frames that are too small for viewing by a whole factor. Larger frames are returned unchanged.

    Args:
        frames: (frame, 3, height, width), in [-1, 1].

    Returns:
        The frames, at least 256 pixels high if a factor of at most 4 is enough for that.
    """
    factor = min(4, -(-_MIN_HEIGHT // frames.shape[-2]))
    if factor <= 1:
        return frames
    return F.interpolate(frames, scale_factor=factor, mode="bicubic").clamp(-1, 1)


def fit_for_players(frames: torch.Tensor) -> torch.Tensor:
    """Prepare frames for video players: large enough, and with even sides.

    Args:
        frames: (frame, 3, height, width), in [-1, 1].

    Returns:
        The frames, enlarged as by `enlarge_small`, with the last line of an odd side repeated.
    """
    frames = enlarge_small(frames)
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, width % 2, 0, height % 2), mode="replicate")


def _resize(maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    return F.interpolate(maps, size=frames.shape[-2:], mode="bilinear", align_corners=False)


def _glow(frame: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Lay a heat map, (1, height, width) in [0, 1], over a frame in colours from dark over red and yellow to white."""
    colour = torch.cat([(heat * 3).clamp(0, 1), (heat * 3 - 1).clamp(0, 1), (heat * 3 - 2).clamp(0, 1)]) * 2 - 1
    grey = frame.mean(dim=0, keepdim=True).expand(3, -1, -1)
    return 0.45 * grey + 0.55 * colour


def _sheet(
    rows: Sequence[tuple[str | Sequence[tuple[str, str]], Sequence[torch.Tensor]]], most: int = 160
) -> Image.Image:
    """Stack rows of pictures, each below its label.

    Args:
        rows: Pairs of label and pictures. A label is a text, or a list of (text, colour). The pictures are
            (3, height, width) in [-1, 1].
        most: Maximum height of a picture in pixels.

    Returns:
        The picture, with at most 8 columns.
    """
    first = rows[0][1]
    columns = np.linspace(0, len(first) - 1, min(len(first), _COLUMNS)).round().astype(int)
    height, width = first[0].shape[-2:]
    scale = most / height if height > most else max(1.0, most // height)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("RGB", (cell[0] * len(columns), (cell[1] + _STRIP) * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for r, (name, pictures) in enumerate(rows):
        top = r * (cell[1] + _STRIP)
        left = 4.0
        for text, colour in [(name, "black")] if isinstance(name, str) else name:
            draw.text((left, top + _STRIP / 2), text, fill=colour, font=font, anchor="lm")
            left += draw.textlength(text, font=font)
        for c, index in enumerate(columns):
            pixels = ((pictures[index].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
            picture = Image.fromarray(np.ascontiguousarray(pixels)).resize(cell, Image.Resampling.BICUBIC)
            sheet.paste(picture, (c * cell[0], top + _STRIP))
    return sheet


def tile(pictures: Sequence[Image.Image], columns: int = 2, gap: int = 12) -> Image.Image:
    """Arrange pictures in a grid.

    Args:
        pictures: Pictures, at least one.
        columns: Maximum number of columns.
        gap: Space between the pictures in pixels.

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
    """Draw some frames of a clip above the same frames of its edit.

    Args:
        source: Source frames, (frame, 3, height, width), RGB in [-1, 1].
        edited: Edited frames of the same shape.
        labels: One line of text for each clip.
        columns: Maximum number of frames, evenly spaced.

    Returns:
        The picture.
    """
    frames = np.linspace(0, len(source) - 1, min(columns, len(source))).round().astype(int).tolist()
    pairs = zip(labels, (source, edited), strict=True)
    return _sheet([(label, list(enlarge_small(clip[frames]))) for label, clip in pairs], 256)
