"""Editing a picture of an atlas with any method, and transferring the change to all frames."""

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

# Scale of a change, of which black to white is 2: the share of the source's detail that stays falls as exp(-(change /
# this)^2).
_SMALL = 0.12
_REACH = 32
_HIDDEN = 0.3


@dataclass(frozen=True)
class AtlasEdit:
    """The result of an atlas edit.

    Attributes:
        video: The edited clip.
        pictures: (3, height, width) by layer, RGB in [-1, 1], with the edited one, for `Atlas.compose`.
        before: (3, height, width), RGB in [-1, 1], picture that the model edited.
        after: (3, height, width), RGB in [-1, 1], output of the method for that picture.
        report: Settings, timings in seconds and qualities, as JSON values.
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
    """Edit a layer's picture as a clip of one frame, and apply the change to all frames (arXiv 2109.11418, 2204.02491).

    The model gets a natural picture: the foreground over the background, as in the reference frame. Only what changes
    in it is transferred to the layer, so that neither the losses of the VAE nor those of the atlas affect unedited
    parts.

    Args:
        session: Session with the model.
        atlas: Atlas, as returned by `fit_atlas`.
        request: Settings of the edit. Its clip is the layer's picture.
        layer: ``"foreground"`` or ``"background"``.
        progress: Receives the progress. An exception that it raises ends the edit between two steps.

    Returns:
        The edited clip and pictures.

    Raises:
        ConfigError: If the atlas has no layer of that name.
        FaircutError: If `Session.prepare` or `Session.edit` fail.
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
    """Return the part of the plane that the model sees: the reference frame, and all of the layer beyond it."""
    height, width = atlas.video.size
    canvas = atlas.layer(layer).canvas
    left, top = min(-0.5, canvas.left), min(-0.5, canvas.top)
    bottom = max(height - 0.5, canvas.top + canvas.height)
    right = max(width - 0.5, canvas.left + canvas.width)
    return Canvas(left, top, bottom - top, right - left)


def show(atlas: Atlas, layer: str, view: Canvas) -> tuple[Tensor, Tensor]:
    """Render the foreground over the background, at the clip's resolution.

    Args:
        atlas: The atlas.
        layer: Name of the layer to edit.
        view: Part of the plane to render.

    Returns:
        (3, height, width), RGB in [-1, 1], and (height, width) in [0, 1], how much the other layer hides.
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
    """Return a layer's picture with an edit of the view transferred to it.

    Parts of the layer that the other layer hid are filled from their surroundings: with the edit's colours if those
    changed much, unchanged if they changed little.

    Args:
        atlas: The atlas.
        layer: Name of the layer that is edited.
        view: Part of the plane that the model saw.
        before: (3, height, width), RGB in [-1, 1], the view before the edit.
        edited: (3, height, width), RGB in [-1, 1], the view after the edit.
        hidden: (height, width) in [0, 1], how much of the layer could not be seen.

    Returns:
        (3, height', width'), RGB in [-1, 1].
    """
    target = atlas.layer(layer)
    seen = (hidden < _HIDDEN).float()[None]  # (1, height, width)

    def filled(values: Tensor) -> Tensor:
        return over(push_pull(values * seen, seen))

    places = _centres(view, (before.shape[-2], before.shape[-1]))
    original = look_up(target.picture, places[None], target.canvas)[0]
    unchanged = torch.exp(-filled((edited - before).square().mean(0, keepdim=True)) / _SMALL**2)
    change = filled(edited) + unchanged * (original - filled(before)) - original
    places = _centres(target.canvas, (target.picture.shape[-2], target.picture.shape[-1]))
    return (target.picture + look_up(change, places[None], view)[0]).clamp(-1, 1)


def keep_detail(edited: Tensor, base: Tensor, source: Tensor) -> Tensor:
    """Restore the detail that an edit's base has lost, wherever the edit left the base unchanged.

    Args:
        edited: (..., 3, height, width), the edit.
        base: (..., 3, height, width), what the edit began from, such as the VAE's round trip or a composed atlas.
        source: (..., 3, height, width), what the base was made from.

    Returns:
        (..., 3, height, width), the source where nothing was edited, the edit where much was, and a mixture in between.
    """
    # The change is extended a little, so that details of replaced things do not shine through at its border.
    reach = max(1, min(edited.shape[-2:]) // _REACH)
    # (..., 1, height, width): the colours of a pixel share one change.
    change = F.max_pool2d((edited - base).square().mean(-3, keepdim=True), 2 * reach + 1, stride=1, padding=reach)
    return edited + torch.exp(-change / _SMALL**2) * (source - base)


def _centres(canvas: Canvas, size: tuple[int, int]) -> Tensor:
    """Return the positions (x, y) of a picture's pixels in the plane, (height, width, 2)."""
    x = canvas.left + (torch.arange(size[1]) + 0.5) * canvas.width / size[1]
    y = canvas.top + (torch.arange(size[0]) + 0.5) * canvas.height / size[0]
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
