"""Train the judge on true, degraded and painted pictures, and on broken ones that it must classify as unclear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faircut.fairness.perception import crop_to_boxes
from faircut.pocket.judge import Judge, load_judge
from faircut.pocket.pictures import contact_sheet, to_pixels, to_tensor
from faircut.pocket.train.config import TrainConfig
from faircut.pocket.train.data import HEADS, Stills
from faircut.pocket.train.loop import pick_device, pick_weighted, step_rng
from faircut.pocket.train.painted import read_painted
from faircut.pocket.vocabulary import IMAGE_SIZE, LABELS

__all__ = ["JudgeStage", "accuracies", "even_chances"]

_IGNORE = -100
_SUBJECT = [HEADS.index(h) for h in ("kind", "profession", "gender", "hair", "colour", "object")]
_BODY = [HEADS.index(h) for h in ("kind", "profession", "gender", "hair", "object")]
_HEAD_ONLY = [HEADS.index(h) for h in ("gender", "hair")]
_BACKGROUND_HEADS = [HEADS.index(h) for h in ("background", "style")]


class JudgeStage:
    """The stage that trains the judge."""

    name = "judge"

    def __init__(self, config: TrainConfig, data: Path, init: Path | None = None):
        """Prepare the stage.

        Args:
            config: Settings of the whole training.
            data: Folder of the stills.
            init: Model folder to start from. None for random weights.
        """
        self.config, self.optim = config, config.judge.optim
        self.rates: dict[str, float] = {}
        torch.manual_seed(config.run.seed)
        self.device = pick_device(config.run)
        judge = Judge(LABELS, config.judge.channels)
        if init is not None:
            judge.load_state_dict(load_judge(init / "judge").state_dict())
        judge.requires_grad_(True)
        self.model: nn.Module = judge.to(self.device)
        self.stills = Stills(data, "train", config.data)
        self.held_out = Stills(data, "held_out", config.data)
        self.painted = read_painted(data)
        self.readable = np.flatnonzero(self.painted.rows >= 0)
        self.broken = np.flatnonzero(self.painted.rows < 0)
        # The judge must not learn the planted bias and guess the usual gender in doubt; only the denoiser should learn
        # it.
        chances = even_chances(self.stills.labels)
        self.chances = np.cumsum(chances)
        self.painted_chances = np.cumsum(chances[self.painted.rows[self.readable]])
        self.unclear = torch.tensor([len(LABELS[h]) for h in HEADS])

    def batch(self, rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Return training pictures and their target classes.

        Args:
            rng: Random generator.
            n: Number of pictures.

        Returns:
            (n, 3, 128, 128) pictures in [-1, 1], and (n, heads) classes; -100 where the answer does not count.
        """
        rows = pick_weighted(self.chances, rng, n)
        images = self.stills.images(rows)
        redrawn = np.zeros(n, bool)
        if len(self.readable):
            for i in np.flatnonzero(rng.random(n) < self.config.judge.hand):
                k = self.readable[int(pick_weighted(self.painted_chances, rng, 1)[0])]
                rows[i], images[i], redrawn[i] = self.painted.rows[k], self.painted.pictures[k], self.painted.redrawn[k]
        x = to_tensor(images, self.device)
        boxes = self.stills.boxes[rows].astype(np.float32)
        classes = self.stills.labels[rows]
        two = boxes[:, 1, 2] > boxes[:, 1, 0]
        which = np.where(two, rng.integers(2, size=n), 0)
        box, target = boxes[np.arange(n), which], torch.from_numpy(classes[np.arange(n), which].astype(np.int64))
        # Attributes that do not apply are unclear: a car has no gender.
        target = torch.where(target < 0, self.unclear, target)
        target[redrawn] = target[redrawn].index_fill(1, torch.tensor(_SUBJECT), _IGNORE)
        cropped = np.where(two, rng.random(n) < 0.85, rng.random(n) < 0.3)
        # A whole picture of two people has no unique answer about the person.
        for i in np.flatnonzero(two & ~cropped):
            target[i, [c for c in _SUBJECT if HEADS[c] != "kind"]] = _IGNORE
        side = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])[:, None]
        jitter = box + rng.uniform(-0.06, 0.06, box.shape).astype(np.float32) * side
        whole = np.array([0, 0, x.shape[-1], x.shape[-2]], np.float32)
        views = torch.from_numpy(np.where(cropped[:, None], jitter, whole)).to(self.device)
        x = self._damage(x, target, box, rng)
        margins = torch.from_numpy(np.where(cropped, 0.12, 0.0).astype(np.float32)).to(self.device)
        side_now = torch.maximum(views[:, 2] - views[:, 0], views[:, 3] - views[:, 1]) * margins
        views = views + side_now[:, None] * views.new_tensor([-1, -1, 1, 1])
        x = self._degrade(crop_to_boxes(x, views, IMAGE_SIZE, margin=0.0), rng)
        target[torch.from_numpy(cropped)] = target[torch.from_numpy(cropped)].index_fill(
            1, torch.tensor(HEADS.index("background")), _IGNORE
        )
        return x, target.to(self.device)

    def _degrade(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Add blur, noise and brightness changes like those of a decoder or a codec, which hide no attribute."""
        n = len(x)
        soft = F.interpolate(
            F.interpolate(x, size=(72, 72), mode="bilinear", antialias=True), size=x.shape[-2:], mode="bilinear"
        )
        share = rng.uniform(0, 1, n) * (rng.random(n) < 0.5)
        mix = torch.from_numpy(share.astype(np.float32)).to(x.device)[:, None, None, None]
        x = x + mix * (soft - x)
        grain = rng.uniform(0, 0.12, n) * (rng.random(n) < 0.5)
        noise = torch.from_numpy(
            rng.standard_normal(x.shape, np.float32) * grain[:, None, None, None].astype(np.float32)
        )
        light = torch.from_numpy(rng.uniform(0.92, 1.08, (n, 1, 1, 1)).astype(np.float32))
        return (x * light.to(x.device) + noise.to(x.device)).clamp(-1, 1)

    def _damage(self, x: Tensor, target: Tensor, box: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Damage a share of the pictures, and mark in ``target`` the attributes that can no longer be read."""
        x = x.clone()
        size = x.shape[-1]
        for i in np.flatnonzero(rng.random(len(x)) < self.config.judge.broken):
            damage = int(rng.integers(9 if len(self.broken) else 7))
            left, top, right, bottom = (int(v) for v in box[i])
            if damage == 0:  # only a few blocks of colour
                side = int(rng.integers(3, 9))
                small = F.interpolate(x[i : i + 1], size=(side, side), mode="area")
                x[i] = F.interpolate(small, size=(size, size), mode="bilinear")[0]
                target[i] = self.unclear
                target[i, _BACKGROUND_HEADS] = _IGNORE
            elif damage == 1:  # strong noise
                noise = torch.from_numpy(rng.standard_normal((3, size, size), np.float32)).to(x.device)
                x[i] = (0.15 * x[i] + 0.6 * noise).clamp(-1, 1)
                target[i] = self.unclear
                target[i, HEADS.index("colour")] = _IGNORE
                target[i, _BACKGROUND_HEADS] = _IGNORE
            elif damage == 2:  # mixture of two pictures
                other = x[int(rng.integers(len(x)))]
                x[i] = 0.5 * x[i] + 0.5 * other
                target[i] = self.unclear
                target[i, HEADS.index("kind")] = _IGNORE
                target[i, _BACKGROUND_HEADS] = _IGNORE
            elif damage == 3:  # shuffled tiles
                side = (8, 16)[int(rng.integers(2))]
                k = size // side
                tiles = x[i].reshape(3, k, side, k, side).permute(1, 3, 0, 2, 4).reshape(k * k, 3, side, side)
                tiles = tiles[torch.from_numpy(rng.permutation(k * k)).to(x.device)]
                x[i] = tiles.reshape(k, k, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, size, size)
                target[i, _BODY] = self.unclear[_BODY]
                target[i, HEADS.index("colour")] = _IGNORE
                target[i, _BACKGROUND_HEADS] = _IGNORE
            elif damage in (4, 5):  # the head is blurred, or painted over
                end = top + max(4, int((bottom - top) * rng.uniform(0.5, 0.62)))
                area = x[i : i + 1, :, top:end, left:right]
                if area.numel() == 0:
                    continue
                if damage == 4:
                    small = F.interpolate(area, size=(int(rng.integers(2, 5)), int(rng.integers(2, 4))), mode="area")
                    x[i, :, top:end, left:right] = F.interpolate(small, size=area.shape[-2:], mode="bilinear")[0]
                else:
                    edge = x[i, :, top:end, max(0, left - 1)]
                    x[i, :, top:end, left:right] = edge[:, :, None]
                target[i, _SUBJECT] = _IGNORE
                target[i, _HEAD_ONLY] = self.unclear[_HEAD_ONLY]
            elif damage > 6:  # the denoiser's guess from almost pure noise
                k = self.broken[int(rng.integers(len(self.broken)))]
                x[i] = to_tensor(np.array(self.painted.pictures[k : k + 1]), x.device)[0]
                target[i] = self.unclear
                target[i, _BACKGROUND_HEADS] = _IGNORE
            else:  # the subject is blurred, the background is intact
                area = x[i : i + 1, :, top:bottom, left:right]
                if area.numel() == 0:
                    continue
                side = int(rng.integers(2, 6))
                small = F.interpolate(area, size=(side, side), mode="area")
                x[i, :, top:bottom, left:right] = F.interpolate(small, size=area.shape[-2:], mode="bilinear")[0]
                target[i, _BODY] = self.unclear[_BODY]
                target[i, HEADS.index("colour")] = _IGNORE
        return x

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Stage`."""
        rng = step_rng(self.config.run.seed, self.name, step, rank)
        x, target = self.batch(rng, self.optim.batch // world)
        logits = self.model(x)
        total = x.new_zeros(())
        right = []
        for i, head in enumerate(HEADS):
            out = logits[head].float()
            total = total + F.cross_entropy(
                out, target[:, i], ignore_index=_IGNORE, label_smoothing=self.config.judge.smoothing, reduction="sum"
            )
            counts = target[:, i] != _IGNORE
            right.append((out.argmax(-1) == target[:, i])[counts].float().mean())
        return total / target.numel(), {"right": torch.stack(right).nanmean()}

    def preview(self, path: Path) -> dict[str, float]:
        """See `Stage`."""
        x, _ = self.batch(np.random.default_rng(0), 48)
        contact_sheet(to_pixels(x), 12, path)
        return accuracies(self.model, self.held_out, range(min(512, len(self.held_out))))


def even_chances(labels: np.ndarray) -> np.ndarray:
    """Return weights of stills that balance the genders of every profession, and keep the frequency of the profession.

    Args:
        labels: (stills, 2, heads) classes of the subjects; -1 for a missing subject.

    Returns:
        (stills,) weights: 1 for stills without people, the mean for two people.
    """
    profession, gender = (labels[:, :, HEADS.index(head)].astype(np.int64) for head in ("profession", "gender"))
    people = (profession >= 0) & (gender >= 0)
    count = np.zeros((len(LABELS["profession"]), len(LABELS["gender"])))
    np.add.at(count, (profession[people], gender[people]), 1)
    fair = count.sum(1, keepdims=True) / count.shape[1] / np.maximum(count, 1)
    weights = np.where(people, fair[profession, gender], 0.0)
    return np.where(people.any(1), weights.sum(1) / np.maximum(people.sum(1), 1), 1.0)


@torch.no_grad()
def accuracies(judge: nn.Module, stills: Stills, rows: range) -> dict[str, float]:
    """Return the accuracy of a judge on true pictures of one subject.

    Args:
        judge: A Judge.
        stills: Stills of a split.
        rows: Indices of the stills to use. Stills with two people are left out.

    Returns:
        Accuracy by attribute, over the pictures to which the attribute applies; "unclear" counts as wrong.
    """
    device = next(judge.parameters()).device
    single = [i for i in rows if stills.boxes[i, 1, 2] <= stills.boxes[i, 1, 0]]
    hits: dict[str, list[float]] = {head: [] for head in HEADS}
    for at in range(0, len(single), 64):
        part = single[at : at + 64]
        logits = judge(to_tensor(stills.images(part), device))
        for k, head in enumerate(HEADS):
            truth = stills.labels[part, 0, k]
            predicted = logits[head].argmax(-1).cpu().numpy()
            hits[head] += list((predicted == truth)[truth >= 0].astype(float))
    return {head: round(float(np.mean(values)), 4) for head, values in hits.items() if values}
