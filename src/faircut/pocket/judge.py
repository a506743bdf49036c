"""The judge: a convolutional network that reads the attributes of a picture of the drawn world.

The judge measures edits and generated pictures. For every attribute it returns a class or "unclear".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faircut.errors import ModelError
from faircut.fairness.perception import crop_to_boxes
from faircut.model.checkpoints import check_numbers, check_weights, read_json

__all__ = ["UNCLEAR", "Judge", "load_judge", "save_judge"]

UNCLEAR = "unclear"
_AGAIN = "download the checkpoint again"
_SIZE = 128


class _Block(nn.Module):
    """A convolution that halves the resolution, then a residual convolution."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.norm1 = nn.GroupNorm(8, after)
        self.conv = nn.Conv2d(after, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, after)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm1(self.down(x)))
        return x + F.silu(self.norm2(self.conv(x)))


class Judge(nn.Module):
    """A network that reads kind, profession, gender, hair, colour and object of the largest subject, background and
    style."""

    def __init__(self, labels: Mapping[str, Sequence[str]], channels: Sequence[int] = (24, 48, 96, 160, 224)):
        """Build a judge with random weights.

        Args:
            labels: Class names of every attribute. The class "unclear" is appended to each.
            channels: Channels of the stages, each at half the resolution of the previous one.
        """
        super().__init__()
        self.labels = {head: tuple(names) for head, names in labels.items()}
        self.channels = tuple(channels)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in zip((3, *channels[:-1]), channels, strict=True)))
        self.mix = nn.Linear(2 * channels[-1], channels[-1])
        self.heads = nn.ModuleDict({h: nn.Linear(channels[-1], len(n) + 1) for h, n in self.labels.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the logits of every attribute.

        Args:
            pictures: (pictures, 3, 128, 128) in [-1, 1].

        Returns:
            Logits by attribute, (pictures, classes + 1) each; the last class is "unclear".
        """
        x = self.blocks(pictures)
        x = F.silu(self.mix(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)))
        return {head: layer(x) for head, layer in self.heads.items()}

    @torch.no_grad()
    def probabilities(self, images: Tensor, boxes: Tensor | None = None, batch: int = 64) -> dict[str, Tensor]:
        """Return the class probabilities of every attribute.

        Args:
            images: (pictures, 3, height, width) in [0, 1], any size.
            boxes: (pictures, 4) left, top, right and bottom of the subject in pixels, or None for the whole picture. In
                a picture of two people, each must be read through a separate box. A box hides the background.
            batch: Number of pictures at a time.

        Returns:
            Probabilities by attribute, (pictures, classes + 1) each; the last class is "unclear".
        """
        device = self.mix.weight.device
        probabilities: dict[str, list[Tensor]] = {head: [] for head in self.labels}
        for at in range(0, len(images), batch):
            x = images[at : at + batch].to(device=device, dtype=torch.float32) * 2 - 1
            if boxes is not None:
                x = crop_to_boxes(x, boxes[at : at + batch].to(device), _SIZE)
            elif x.shape[-2:] != (_SIZE, _SIZE):
                x = F.interpolate(x, (_SIZE, _SIZE), mode="bilinear", antialias=True)
            for head, logits in self(x.to(self.mix.weight.dtype)).items():
                probabilities[head].append(logits.float().softmax(-1).cpu())
        return {head: torch.cat(parts) for head, parts in probabilities.items()}

    def read(self, images: Tensor, boxes: Tensor | None = None) -> dict[str, list[str]]:
        """Return the most probable class of every attribute.

        Args:
            images: (pictures, 3, height, width) in [0, 1].
            boxes: (pictures, 4) boxes as in `probabilities`, or None for the whole picture.

        Returns:
            For each attribute one class name per picture, or "unclear".
        """
        return {
            head: [(*self.labels[head], UNCLEAR)[i] for i in p.argmax(-1).tolist()]
            for head, p in self.probabilities(images, boxes).items()
        }


def save_judge(judge: Judge, folder: Path) -> None:
    """Write a judge as config.json and half-precision safetensors.

    Args:
        judge: The judge.
        folder: Folder to write to.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"labels": judge.labels, "channels": judge.channels}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, folder / "model.safetensors")


def load_judge(folder: str | Path | None = None) -> Judge:
    """Load a judge.

    Args:
        folder: Folder that `save_judge` wrote. None for the judge that comes with faircut.

    Returns:
        The judge in float32, on the CPU, in evaluation mode.

    Raises:
        ModelError: If the folder does not contain a judge.
    """
    from safetensors.torch import load_file

    root = Path(__file__).parent / "weights" / "judge" if folder is None else Path(folder)
    try:
        config = read_json(root / "config.json")
        check_numbers(root / "config.json", config)
        check_weights(root / "model.safetensors")
        judge = Judge(config["labels"], config["channels"])
        judge.load_state_dict({k: v.float() for k, v in load_file(root / "model.safetensors").items()})
    except Exception as error:
        # Wrong files, names, numbers and shapes raise many kinds of exceptions.
        raise ModelError(f"no judge in {root}: {' '.join(str(error).split())[:300]}; {_AGAIN}") from error
    return judge.eval().requires_grad_(False)
