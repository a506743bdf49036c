"""How near a clip is to another one, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["psnr", "psnr_series", "region_psnr", "ssim", "ssim_map", "ssim_series"]

_MOST = 100.0  # dB: what stands for "equal", so that means stay finite


def _decibels(error: Tensor) -> Tensor:
    return (-10 * torch.log10(error.clamp_min(1e-12))).clamp(max=_MOST)


def psnr_series(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio frame by frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: the same shape.

    Returns:
        (frame,), dB, at most 100.
    """
    return _decibels((a - b).square().mean((1, 2, 3)))


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of whole clips, such as a reconstruction and its source.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: the same shape.

    Returns:
        dB of the squared error over all pixels, at most 100: not the mean of `psnr_series`, which a few equal frames would
        lift. Higher is better.
    """
    return float(_decibels((a - b).square().mean()))


def region_psnr(edited: Tensor, source: Tensor, region: Tensor) -> float:
    """Peak signal-to-noise ratio within a region, such as outside the edited subject (background PSNR).

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        region: (frame, height, width), bool.

    Returns:
        dB over all of the region's pixels, at most 100; NaN for an empty region. Higher is better.
    """
    if not bool(region.any()):
        return float("nan")
    return float(_decibels((edited - source).square().mean(1)[region].mean()))


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity around every pixel: Gaussian windows of 11 x 11, sigma 1.5 (Wang et al., 2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        (frame, height, width), the mean of the three channels, -1 to 1; pictures are mirrored beyond their edges.
    """
    # Here and not above: importing torchmetrics takes a second that most of what measures does not need.
    from torchmetrics.functional.image import structural_similarity_index_measure

    # One frame at a time: its moments take five times the memory of what it is given.
    maps = [
        structural_similarity_index_measure(x[None], y[None], data_range=1.0, return_full_image=True)[1].mean(1)
        for x, y in zip(a, b, strict=True)
    ]
    return torch.cat(maps) if maps else a.new_zeros(0, *a.shape[-2:])


def ssim_series(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity frame by frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        (frame,), -1 to 1.
    """
    return ssim_map(a, b).mean((1, 2))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of whole clips (SSIM), such as a reconstruction and its source (Wang et al., 2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        Mean over frames, -1 to 1. Higher is better.
    """
    return float(ssim_series(a, b).mean())
