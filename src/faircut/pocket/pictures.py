"""Helpers for pictures: conversion to and from tensors, contact sheets, PSNR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faircut.files import save_picture

__all__ = ["contact_sheet", "psnr", "to_pixels", "to_tensor"]


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Convert pictures to a tensor for a model.

    Args:
        images: (pictures, height, width, 3) uint8.
        device: Device of the tensor.

    Returns:
        (pictures, 3, height, width) float32 in [-1, 1].
    """
    pictures = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return (pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous()


def to_pixels(pictures: Tensor) -> np.ndarray:
    """Convert a tensor of pictures to 8-bit pixels.

    Args:
        pictures: (pictures, 3, height, width) in [-1, 1]; other values are clipped.

    Returns:
        (pictures, height, width, 3) uint8.
    """
    values = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return values.permute(0, 2, 3, 1).cpu().numpy()


def contact_sheet(images: np.ndarray, columns: int, path: Path) -> None:
    """Write pictures as one contact sheet.

    Args:
        images: (pictures, height, width, 3) uint8.
        columns: Number of pictures in a row.
        path: Path of the PNG file.
    """
    from PIL import Image

    rows = -(-len(images) // columns)
    h, w = images.shape[1:3]
    sheet = np.full((rows * columns, h, w, 3), 255, np.uint8)
    sheet[: len(images)] = images
    tiled = sheet.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    save_picture(Image.fromarray(tiled), path)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each picture.

    Args:
        a: (pictures, 3, height, width) in [-1, 1].
        b: (pictures, 3, height, width) in [-1, 1].

    Returns:
        (pictures,) decibels.
    """
    error = ((a.float().clamp(-1, 1) - b.float().clamp(-1, 1)) / 2).pow(2).mean((1, 2, 3))
    return -10 * torch.log10(error.clamp_min(1e-10))
