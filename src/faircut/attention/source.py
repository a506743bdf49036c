"""The source's attention, as its queries and keys: recorded while inverting, or computed again when it is needed.

A map of attention needs only its queries and keys, so no map is ever kept. `RecordedSource` reads what a `Recorder`
kept during inversion, in memory or on disk. `LiveSource` runs the source once more, one step at a time, from the
latents of the inversion. It is a pass of its own just before the edit's, not one more branch of the edit's batch: the
blend mask of a step's first layers is made of cross-attention from its last ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from faircut.attention.context import AttentionContext, Layer, Step
from faircut.attention.controller import QKV, Controller, Where
from faircut.errors import AttentionError
from faircut.files.tensors import save_tensors

__all__ = ["AttentionStore", "DiskStore", "LiveSource", "MemoryStore", "RecordedSource", "Recorder"]


class SourceComplete(Exception):
    """Every layer of interest has run: the rest of the network need not."""


class AttentionStore(Protocol):
    """Where queries and keys are kept, by step and layer."""

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Keep one layer's queries and keys of one step."""

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what was kept."""

    def close_step(self, index: int) -> None:
        """Learn that a step is complete."""

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the layers kept, by step."""

    @property
    def nbytes(self) -> int:
        """Bytes kept."""


class MemoryStore:
    """Keeps queries and keys in memory.

    Args:
        device: where; None leaves them on the device they come from.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self._kept: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Keep copies, so that no larger tensor stays alive behind a view."""
        self._kept[index, layer] = (self._copy(query), self._copy(key))

    def _copy(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().to(self.device or x.device, copy=True, memory_format=torch.contiguous_format)

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (query, key).

        Raises:
            AttentionError: nothing was kept for this step and layer.
        """
        if (index, layer) not in self._kept:
            raise AttentionError(f"no source attention was kept for step {index} of {layer}; invert the clip again")
        return self._kept[index, layer]

    def close_step(self, index: int) -> None:
        """Do nothing: memory is always up to date."""

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the layers kept, by step."""
        kept: dict[int, list[str]] = {}
        for index, layer in self._kept:
            kept.setdefault(index, []).append(layer)
        return kept

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        return sum(x.nbytes for pair in self._kept.values() for x in pair)


class DiskStore:
    """Keeps queries and keys in a folder, one safetensors file a step.

    Args:
        folder: an existing folder; files are named ``step_0000.safetensors`` and so on.
        owner: what the folder goes with, and the store therefore refers to.
    """

    def __init__(self, folder: Path, owner: object = None) -> None:
        self.folder = Path(folder)
        self.owner = owner
        self._pending: dict[str, torch.Tensor] = {}
        self._written = {path: _stamp(path) for path in self.folder.glob("step_*.safetensors")}

    def _path(self, index: int) -> Path:
        return self.folder / f"step_{index:04d}.safetensors"

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Hold one layer's queries and keys until the step is complete."""
        self._pending[f"{layer}.query"] = query.detach().to("cpu", copy=True).contiguous()
        self._pending[f"{layer}.key"] = key.detach().to("cpu", copy=True).contiguous()

    def close_step(self, index: int) -> None:
        """Write the step's file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path, tensors, self._pending = self._path(index), self._pending, {}
        if tensors:
            save_tensors(tensors, path)
            self._written[path] = _stamp(path)

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Read one layer of one step.

        Raises:
            AttentionError: the step's file is missing or damaged, or is not the one that was written.
        """
        path = self._path(index)
        with self._reading(path), safe_open(path, framework="pt") as file:
            return file.get_tensor(f"{layer}.query"), file.get_tensor(f"{layer}.key")

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the layers kept, by step.

        Raises:
            AttentionError: a file is missing or damaged, or is not the one that was written.
        """
        kept = {}
        for path in sorted(self._written):
            with self._reading(path), safe_open(path, framework="pt") as file:
                names = [name.removesuffix(".query") for name in file.keys() if name.endswith(".query")]  # noqa: SIM118
            kept[int(path.stem.removeprefix("step_"))] = names
        return kept

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Say in one line that a file cannot be read; what was changed since is not read at all."""
        stamp = _stamp(path)
        if stamp is None:
            raise AttentionError(f"no source attention in {path}; invert the clip again")
        if stamp != self._written.get(path):
            raise AttentionError(f"the source's attention in {path} was changed since; invert the clip again")
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise AttentionError(
                f"cannot read the source's attention in {path} ({error}); invert the clip again"
            ) from None

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(stamp[0] for stamp in self._written.values() if stamp is not None)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the size of a file and when it was changed; None if there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


class Recorder(Controller):
    """Keeps the queries and keys of the source branch, in the coarse layers: 32x32, 16x16 and 8x8 at 512 px.

    Of cross-attention it keeps the keys of one frame: the text is the same for all of them.

    Args:
        store: where to.
        last: name of the layer after which nothing of interest runs; the network is left there. None runs all of it.
    """

    branches = ("source",)
    frames_in = ("batch", "sequence")

    def __init__(self, store: AttentionStore, last: str | None = None) -> None:
        self.store = store
        self.last = last
        self.where = Where(coarse=True, phases=("invert", "denoise"))

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Keep queries and keys as the layer computed them, before other frames join in."""
        part = context.layout.slice("source")
        key = qkv.key[part]
        self.store.put(
            context.step.index, context.layer.name, qkv.query[part], key[:1] if context.layer.kind == "cross" else key
        )
        if context.layer.name == self.last:
            raise SourceComplete
        return context, qkv

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Close the step in the store.

        Raises:
            AttentionError: it cannot be written.
        """
        try:
            self.store.close_step(step.index)
        except OSError as error:
            raise AttentionError(
                f"cannot keep the source's attention in {error.filename}: {error.strerror or error}; make room, name "
                "another folder in TMPDIR, or have it computed again in place of kept (supplier live)"
            ) from error
        return latents


class RecordedSource:
    """The source's attention from a store.

    Args:
        store: what a `Recorder` filled during inversion.
        device: where the attention is to be used.
    """

    def __init__(self, store: AttentionStore, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._probs: dict[str, torch.Tensor] = {}
        self._index = -1

    @property
    def index(self) -> int:
        """The current step; -1 before the first."""
        return self._index

    def advance(self, index: int) -> None:
        """Make ready for step ``index``."""
        if index != self._index:
            self._index = index
            self._probs.clear()

    def query_key(self, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the source's (query, key) of a layer in the current step, (frame, head, position, dim) each."""
        query, key = self.store.get(self._index, layer.name)
        depth = layer.channels // layer.heads
        for x in (query, key):
            if x.ndim != 4 or x.shape[1] != layer.heads or x.shape[3] != depth or not x.is_floating_point():
                raise AttentionError(
                    f"the source's attention of step {self._index} in {layer.name} has the shape {tuple(x.shape)} and "
                    f"not (frame, {layer.heads}, position, {depth}); invert the clip again"
                )
        return query.to(self.device), key.to(self.device)

    def probs(self, layer: Layer) -> torch.Tensor:
        """Return the source's cross-attention of a layer in the current step, (frame, head, query, token), float32."""
        if layer.name not in self._probs:
            query, key = self.query_key(layer)
            scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
            self._probs[layer.name] = scores.softmax(dim=-1)
        return self._probs[layer.name]


class LiveSource(RecordedSource):
    """The source's attention computed again, a step at a time, from the latents of the inversion.

    Args:
        run: ``(k, recorder)`` evaluates the network on the source's latents at step k with the recorder installed.
        device: where the attention is to be used.
        last: name of the layer after which nothing of interest runs.
    """

    def __init__(self, run: Callable[[int, Recorder], object], device: torch.device, last: str | None = None) -> None:
        self._memory = MemoryStore()
        super().__init__(self._memory, device)
        self._recorder = Recorder(self._memory, last)
        self._run = run

    def advance(self, index: int) -> None:
        """Run the source at step ``index``, unless it is there already."""
        if index == self._index:
            return
        self._memory.clear()
        super().advance(index)
        with contextlib.suppress(SourceComplete):
            self._run(index, self._recorder)
        if not self._memory.entries():
            raise AttentionError(
                "this network has no attention layer whose grid is at most half the latent grid, and only of those the "
                "source's attention is kept; use a method that needs none of it, such as ddim or masactrl"
            )
