"""Editing an atlas picture with any method, and bringing the change to all frames."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faircut.atlas.atlas import Atlas
from faircut.atlas.layers import Canvas, look_up, over, push_pull
from faircut.edit.progress import Progress
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.video import Video

__all__ = ["AtlasEdit", "edit_atlas", "show"]

# A change of this many of the 2 units between black and white is half kept from the source's detail, half not.
_SMALL = 0.12
_REACH = 32
_HIDDEN = 0.3


@dataclass(frozen=True)
class AtlasEdit:
    """What an edit of an atlas gives back.

    Attributes:
        video: the edited clip.
        pictures: the atlas pictures by layer, (3, height, width) in [-1, 1], the edited one among them, for
            `Atlas.compose`.
        before: (3, height, width), RGB in [-1, 1]: what the model was shown.
        after: the same, as the method left it.
        report: settings, timings in seconds and qualities, ready for JSON.
    """

    video: Video
    pictures: dict[str, Tensor]
    before: Tensor
    after: Tensor
    report: dict[str, Any] = field(default_factory=dict)


def edit_atlas(
    session: Session,
    atlas: Atlas,
    request: EditRequest,
    *,
    layer: str = "foreground",
    progress: Progress | None = None,
) -> AtlasEdit:
    """Edit one layer's picture as a clip of one frame, and put the change into every frame (arXiv 2109.11418,
    2204.02491).

    The model is shown what it knows: the foreground over the background, as in the reference frame. Only what changes
    is brought back to the layer, so that neither the VAE's losses nor the atlas's touch what was not edited.

    Args:
        session: holds the model.
        atlas: as `fit_atlas` returns it.
        request: the edit; its clip is the layer's picture.
        layer: ``"foreground"`` or ``"background"``.
        progress: shows how far it is; what it raises ends the edit between two steps.

    Raises:
        ConfigError: there is no such layer.
        FaircutError: what `Session.prepare` and `Session.edit` raise.
    """
    started = time.perf_counter()
    atlas.layer(layer)
    view = view_of(atlas, layer)
    before, hidden = show(atlas, layer, view)
    prepared = session.prepare(request, before[None], progress=progress)
    result = session.edit(prepared, progress=progress)
    assert result.video is not None
    after = result.video.frames[0]
    round_trip = session.decode(prepared.inversion)[0]
    edited = keep_detail(after, round_trip, before)
    pictures = {**atlas.pictures(), layer: brought_back(atlas, layer, view, before, edited, hidden)}
    frames = keep_detail(atlas.compose(pictures), atlas.render(), atlas.video.frames)
    report = {**result.report, "layer": layer, "atlas": dict(atlas.report)}
    report["seconds"] = {**report["seconds"], "all": time.perf_counter() - started}
    return AtlasEdit(atlas.video.with_frames(frames.clamp(-1, 1)), pictures, before, after, report)


def view_of(atlas: Atlas, layer: str) -> Canvas:
    """Return what the model is shown of the plane: the reference frame, and whatever of the layer lies beyond it."""
    height, width = atlas.video.size
    canvas = atlas.layer(layer).canvas
    left, top = min(-0.5, canvas.left), min(-0.5, canvas.top)
    bottom = max(height - 0.5, canvas.top + canvas.height)
    right = max(width - 0.5, canvas.left + canvas.width)
    return Canvas(left, top, bottom - top, right - left)


def show(atlas: Atlas, layer: str, view: Canvas) -> tuple[Tensor, Tensor]:
    """Draw the layers over each other, at the clip's resolution.

    Args:
        atlas: the atlas.
        layer: which one is to be edited.
        view: what of the plane to draw.

    Returns:
        (3, height, width) in [-1, 1], and (height, width) in [0, 1]: how much the other layer hides.
    """
    places = _centres(view, view.pixels(1.0))[None]
    foreground, background = atlas.layers["foreground"], atlas.layers["background"]
    inside = (foreground.canvas.normalise(places).abs() <= 1).all(-1)
    cover = look_up(atlas.coverage("foreground")[None], places, foreground.canvas)[0, 0] * inside[0]
    top = look_up(foreground.picture, places, foreground.canvas)[0]
    below = look_up(background.picture, places, background.canvas)[0]
    hidden = cover if layer == "background" else 1 - cover
    return cover * top + (1 - cover) * below, hidden


def brought_back(atlas: Atlas, layer: str, view: Canvas, before: Tensor, edited: Tensor, hidden: Tensor) -> Tensor:
    """Bring an edit of what was shown back to a layer's picture.

    What the other layer hid there is filled in from around it: with the edit's colours where it changed much, and as it
    was where it changed little.

    Args:
        atlas: the atlas.
        layer: which one is edited.
        view: what of the plane was shown.
        before: (3, height, width) in [-1, 1]: what was shown.
        edited: the same, edited.
        hidden: (height, width) in [0, 1]: how much of the layer could not be seen.

    Returns:
        (3, height', width'), RGB in [-1, 1].
    """
    own = atlas.layer(layer)
    seen = (hidden < _HIDDEN).float()[None]

    def filled(values: Tensor) -> Tensor:
        return over(push_pull(values * seen, seen))

    places = _centres(view, (before.shape[-2], before.shape[-1]))
    was = look_up(own.picture, places[None], own.canvas)[0]
    kept = torch.exp(-filled((edited - before).square().mean(0, keepdim=True)) / _SMALL**2)
    change = filled(edited) + kept * (was - filled(before)) - was
    places = _centres(own.canvas, (own.picture.shape[-2], own.picture.shape[-1]))
    return (own.picture + look_up(change, places[None], view)[0]).clamp(-1, 1)


def keep_detail(edited: Tensor, base: Tensor, source: Tensor) -> Tensor:
    """Give an edit the detail back that its base has lost, wherever it left the base as it was.

    Args:
        edited: (..., 3, height, width).
        base: what the edit began from, such as the VAE's round trip, or an atlas put together again.
        source: what the base was made from.

    Returns:
        The source where nothing was edited, the edit where much was, and a mixture between.
    """
    # Detail of what has gone must not shine through what came: a change reaches a little further than it is seen.
    reach = max(1, min(edited.shape[-2:]) // _REACH)
    change = F.max_pool2d((edited - base).square().mean(-3, keepdim=True), 2 * reach + 1, stride=1, padding=reach)
    return edited + torch.exp(-change / _SMALL**2) * (source - base)


def _centres(canvas: Canvas, size: tuple[int, int]) -> Tensor:
    """Return where the pixels of a picture of a canvas lie, (height, width, 2)."""
    x = canvas.left + (torch.arange(size[1]) + 0.5) * canvas.width / size[1]
    y = canvas.top + (torch.arange(size[0]) + 0.5) * canvas.height / size[0]
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
