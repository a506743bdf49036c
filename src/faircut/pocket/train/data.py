"""Drawn stills on disk, which are drawn in shards by several processes and read by memory map."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from faircut.errors import ConfigError
from faircut.pocket.scenes import sample_scene
from faircut.pocket.train.config import DataConfig
from faircut.pocket.vocabulary import IMAGE_SIZE, LABELS, Scene, Subject
from faircut.pocket.world import labels, render

__all__ = ["HEADS", "MASK_SIZE", "Stills", "draw_stills", "scene_from_json", "scene_to_json", "write_array"]

HEADS = tuple(LABELS)
MASK_SIZE = 16
_SUBJECTS = 2
_SPLITS = ("train", "held_out")


def scene_to_json(scene: Scene) -> str:
    """Write a scene as one line of JSON.

    Args:
        scene: The scene.

    Returns:
        The line, without a line break.
    """
    values = dataclasses.asdict(scene)
    for subject in values["subjects"]:
        subject["mentions"] = sorted(subject["mentions"])
    return json.dumps(values)


def scene_from_json(line: str) -> Scene:
    """Read a scene from a line of JSON.

    Args:
        line: A line that `scene_to_json` wrote.

    Returns:
        An equal scene.
    """
    values = json.loads(line)
    subjects = tuple(Subject(**{**s, "mentions": frozenset(s["mentions"])}) for s in values.pop("subjects"))
    return Scene(**values, subjects=subjects)


def subject_labels(scene: Scene) -> np.ndarray:
    """Return the class of every attribute, separately for each subject.

    Args:
        scene: The scene.

    Returns:
        (2, heads) int16; -1 where an attribute does not apply, or there is no second subject.
    """
    out = np.full((_SUBJECTS, len(HEADS)), -1, np.int16)
    for i, subject in enumerate(scene.subjects):
        classes = labels(dataclasses.replace(scene, subjects=(subject,)))
        out[i] = [classes[head] for head in HEADS]
    return out


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file in one atomic step.

    Args:
        path: Path of the file.
        array: Array to write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(temporary, array)
    temporary.replace(path)


def _draw_shard(folder: str, split: str, index: int, size: int, seed: int) -> int:
    """Draw one shard of a split, independently of the others; return its index."""
    cv2.setNumThreads(1)  # the shards run in parallel already
    rng = np.random.default_rng([seed, _SPLITS.index(split), index])
    images = np.zeros((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    masks = np.zeros((size, _SUBJECTS, MASK_SIZE, MASK_SIZE), np.uint8)
    boxes = np.zeros((size, _SUBJECTS, 4), np.int16)
    classes = np.zeros((size, _SUBJECTS, len(HEADS)), np.int16)
    scenes = []
    cell = IMAGE_SIZE // MASK_SIZE
    for i in range(size):
        scene = sample_scene(rng, split=split)
        frame = render(scene)
        images[i], classes[i] = frame.image, subject_labels(scene)
        for s, mask in enumerate(frame.masks):
            share = mask.reshape(MASK_SIZE, cell, MASK_SIZE, cell).mean((1, 3))
            masks[i, s] = np.round(share * 255)
            ys, xs = np.nonzero(mask)
            if len(ys):
                boxes[i, s] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        scenes.append(scene_to_json(scene))
    root = Path(folder)
    write_array(root / f"masks-{index:05d}.npy", masks)
    write_array(root / f"boxes-{index:05d}.npy", boxes)
    write_array(root / f"labels-{index:05d}.npy", classes)
    (root / f"scenes-{index:05d}.jsonl").write_text("\n".join(scenes) + "\n")
    write_array(
        root / f"images-{index:05d}.npy", images
    )  # last, so that its existence means that the shard is complete
    return index


def draw_stills(
    folder: Path, split: str, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw the missing shards of a split.

    Args:
        folder: Data folder.
        split: "train" or "held_out".
        config: Number of stills, size of shards, workers and seed.
        progress: Called with the number of existing stills and the total number.
    """
    root = folder / split
    root.mkdir(parents=True, exist_ok=True)
    shards = _shards(config, split)
    missing = [i for i in range(shards) if not (root / f"images-{i:05d}.npy").exists()]
    done = shards - len(missing)
    if progress:
        progress(done * config.shard, shards * config.shard)
    if not missing:
        return
    if config.workers <= 1:
        for index in missing:
            _draw_shard(str(root), split, index, config.shard, config.seed)
            done += 1
            if progress:
                progress(done * config.shard, shards * config.shard)
        return
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_draw_shard, str(root), split, i, config.shard, config.seed) for i in missing]
        for job in as_completed(jobs):
            job.result()
            done += 1
            if progress:
                progress(done * config.shard, shards * config.shard)


def _shards(config: DataConfig, split: str) -> int:
    """Return the number of shards of a split."""
    total = config.stills if split == "train" else config.held_out
    return -(-total // config.shard)


class Stills:
    """The stills of one split, read by memory map."""

    def __init__(self, folder: Path, split: str, config: DataConfig):
        """Open a split.

        Args:
            folder: Data folder.
            split: "train" or "held_out".
            config: Number of stills and size of shards; all shards must exist.

        Raises:
            ConfigError: If a shard is missing.
        """
        self.root, self.shard = folder / split, config.shard
        self.shards = _shards(config, split)
        self._opened: dict[int, list[np.ndarray]] = {}
        missing = [i for i in range(self.shards) if not (self.root / f"images-{i:05d}.npy").exists()]
        if missing:
            raise ConfigError(f"{len(missing)} shards of {split} stills are missing in {folder}; run the stage 'draw'")

    def __len__(self) -> int:
        return self.shards * self.shard

    def _maps(self, name: str) -> list[np.ndarray]:
        return [np.load(self.root / f"{name}-{i:05d}.npy", mmap_mode="r") for i in range(self.shards)]

    @cached_property
    def _images(self) -> list[np.ndarray]:
        return self._maps("images")

    def _latents(self, downscale: int) -> list[np.ndarray]:
        if downscale not in self._opened:
            self._opened[downscale] = self._maps(_latent_name(downscale))
        return self._opened[downscale]

    @cached_property
    def masks(self) -> np.ndarray:
        """(stills, 2, 16, 16) uint8: share of each cell that a subject covers, 255 for the whole cell."""
        return np.concatenate(self._maps("masks"))

    @cached_property
    def boxes(self) -> np.ndarray:
        """(stills, 2, 4) int16: left, top, right and bottom of each subject in pixels; zeros for a missing subject."""
        return np.concatenate(self._maps("boxes"))

    @cached_property
    def labels(self) -> np.ndarray:
        """(stills, 2, heads) int16: classes of each subject, -1 where they do not apply."""
        return np.concatenate(self._maps("labels"))

    @cached_property
    def _lines(self) -> list[str]:
        files = [self.root / f"scenes-{i:05d}.jsonl" for i in range(self.shards)]
        return [line for file in files for line in file.read_text().splitlines()]

    def scene(self, index: int) -> Scene:
        """Return the scene of a still.

        Args:
            index: Index of the still.

        Returns:
            The scene.
        """
        return scene_from_json(self._lines[index])

    def _gather(self, maps: list[np.ndarray], indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.stack([maps[i // self.shard][i % self.shard] for i in indices])

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the pictures of some stills.

        Args:
            indices: Indices of the stills.

        Returns:
            (stills, 128, 128, 3) uint8.
        """
        return self._gather(self._images, indices)

    def crops(self, indices: Sequence[int] | np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
        """Return square crops of some stills, without reading the rest of the pictures.

        Args:
            indices: Indices of the stills.
            corners: (stills, 2) top and left of each crop in pixels.
            side: Height and width in pixels.

        Returns:
            (stills, side, side, 3) uint8.
        """
        return np.stack(
            [
                self._images[i // self.shard][i % self.shard][top : top + side, left : left + side]
                for i, (top, left) in zip(indices, corners, strict=True)
            ]
        )

    def latents(self, indices: Sequence[int] | np.ndarray, downscale: int = 1) -> np.ndarray:
        """Return the latents of some stills, which the stage 'latents' wrote.

        Args:
            indices: Indices of the stills.
            downscale: Factor by which the pictures were reduced before encoding.

        Returns:
            (stills, channels, 32 / downscale, 32 / downscale) float16. Each channel has about mean 0 and standard
            deviation 1.
        """
        return self._gather(self._latents(downscale), indices)

    @cached_property
    def captions(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids, (stills, variants, 32) uint16, and token masks, (stills, variants, 2 subjects, 2) uint32.

        Bit i of a mask is set if token i belongs to the subject's noun, or to its attributes.
        """
        return np.concatenate(self._maps("tokens")), np.concatenate(self._maps("words"))

    def all_latents(self, downscale: int = 1) -> np.ndarray:
        """Return all latents at once, as in `latents`, for a device with enough memory."""
        return np.concatenate(self._latents(downscale))

    def all_images(self) -> np.ndarray:
        """Return all pictures at once, (stills, 128, 128, 3) uint8, for a device with enough memory."""
        return np.concatenate(self._images)

    def missing_latents(self, downscale: int = 1) -> list[int]:
        """Return the indices of the shards that the stage 'latents' has not encoded yet."""
        name = _latent_name(downscale)
        return [i for i in range(self.shards) if not (self.root / f"{name}-{i:05d}.npy").exists()]

    def write_latents(self, shard: int, latents: np.ndarray, downscale: int = 1) -> None:
        """Write the latents of one shard.

        Args:
            shard: Index of the shard.
            latents: (stills of a shard, channels, side, side) float16.
            downscale: Factor by which the pictures were reduced before encoding.
        """
        write_array(self.root / f"{_latent_name(downscale)}-{shard:05d}.npy", latents)


def _latent_name(downscale: int) -> str:
    return "latents" if downscale == 1 else f"latents{downscale}"
