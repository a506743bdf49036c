"""The source's attention, as queries and keys: recorded during inversion, or computed again when it is needed.

Queries and keys suffice to compute a map of attention, so no map is ever stored. `RecordedSource` reads what a
`Recorder` stored during inversion, in memory or on disk. `LiveSource` runs the source once more, one step at a time,
from the latents of the inversion. This is a separate pass before each step of the edit, not a branch of the edit's
batch, because the blend mask that the first layers of a step use is made from the cross-attention of its last layers.
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
    """Signal that all layers of interest have run, so that the rest of the network can be skipped."""


class AttentionStore(Protocol):
    """A store of queries and keys by step and layer."""

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Store the queries and keys of one layer in one step."""

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stored (query, key) of one layer in one step."""

    def close_step(self, index: int) -> None:
        """Mark a step as complete."""

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the stored layers by step."""

    @property
    def nbytes(self) -> int:
        """Number of bytes stored."""


class MemoryStore:
    """A store of queries and keys in memory.

    Args:
        device: Device to store them on. None leaves them on the device they come from.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self._stored: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Store copies, because a view would keep a larger tensor alive."""
        self._stored[index, layer] = (self._copy(query), self._copy(key))

    def _copy(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().to(self.device or x.device, copy=True, memory_format=torch.contiguous_format)

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stored (query, key).

        Raises:
            AttentionError: If nothing is stored for this step and layer.
        """
        if (index, layer) not in self._stored:
            raise AttentionError(f"no source attention is stored for step {index} of {layer}; invert the clip again")
        return self._stored[index, layer]

    def close_step(self, index: int) -> None:
        """Do nothing, because entries in memory are complete at once."""

    def clear(self) -> None:
        """Remove all entries."""
        self._stored.clear()

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the stored layers by step."""
        names_by_step: dict[int, list[str]] = {}
        for index, layer in self._stored:
            names_by_step.setdefault(index, []).append(layer)
        return names_by_step

    @property
    def nbytes(self) -> int:
        """Number of bytes stored."""
        return sum(x.nbytes for pair in self._stored.values() for x in pair)


class DiskStore:
    """A store of queries and keys in a folder, with one safetensors file for each step.

    Args:
        folder: An existing folder. Its files are named ``step_0000.safetensors`` and so on.
        owner: Object that must live as long as the store, such as a temporary folder that contains the files.
    """

    def __init__(self, folder: Path, owner: object = None) -> None:
        self.folder = Path(folder)
        self.owner = owner
        self._pending: dict[str, torch.Tensor] = {}
        self._written = {path: _stamp(path) for path in self.folder.glob("step_*.safetensors")}

    def _path(self, index: int) -> Path:
        return self.folder / f"step_{index:04d}.safetensors"

    def put(self, index: int, layer: str, query: torch.Tensor, key: torch.Tensor) -> None:
        """Hold the queries and keys of one layer in memory until the step is complete."""
        self._pending[f"{layer}.query"] = query.detach().to("cpu", copy=True).contiguous()
        self._pending[f"{layer}.key"] = key.detach().to("cpu", copy=True).contiguous()

    def close_step(self, index: int) -> None:
        """Write the file of a step atomically.

        Raises:
            OSError: If the file cannot be written.
        """
        path, tensors, self._pending = self._path(index), self._pending, {}
        if tensors:
            save_tensors(tensors, path)
            self._written[path] = _stamp(path)

    def get(self, index: int, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the (query, key) of one layer in one step.

        Raises:
            AttentionError: If the step's file is missing or damaged, or was changed after it was written.
        """
        path = self._path(index)
        with self._reading(path), safe_open(path, framework="pt") as file:
            return file.get_tensor(f"{layer}.query"), file.get_tensor(f"{layer}.key")

    def entries(self) -> dict[int, list[str]]:
        """Return the names of the stored layers by step.

        Raises:
            AttentionError: If a file is missing or damaged, or was changed after it was written.
        """
        names_by_step = {}
        for path in sorted(self._written):
            with self._reading(path), safe_open(path, framework="pt") as file:
                names = [name.removesuffix(".query") for name in file.keys() if name.endswith(".query")]  # noqa: SIM118
            names_by_step[int(path.stem.removeprefix("step_"))] = names
        return names_by_step

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Turn errors while reading a file into an `AttentionError`, and refuse files that were changed since."""
        stamp = _stamp(path)
        if stamp is None:
            raise AttentionError(f"there is no source attention in {path}; invert the clip again")
        if stamp != self._written.get(path):
            raise AttentionError(f"the source's attention in {path} was changed after inversion; invert the clip again")
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise AttentionError(
                f"cannot read the source's attention in {path} ({error}); invert the clip again"
            ) from None

    @property
    def nbytes(self) -> int:
        """Number of bytes on disk."""
        return sum(stamp[0] for stamp in self._written.values() if stamp is not None)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file, or None if it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


class Recorder(Controller):
    """A recorder of the source branch's queries and keys in the coarse layers: 32x32, 16x16 and 8x8 at 512 px.

    Cross-attention keys are stored for one frame only, because the text is the same for all frames.

    Args:
        store: Store to write to.
        last: Name of the last layer of interest. The evaluation of the network stops after it. None runs the whole
            network.
    """

    branches = ("source",)
    frames_in = ("batch", "sequence")

    def __init__(self, store: AttentionStore, last: str | None = None) -> None:
        self.store = store
        self.last = last
        self.where = Where(coarse=True, phases=("invert", "denoise"))

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Store queries and keys as the layer computed them, before keys of other frames are added."""
        part = context.layout.slice("source")
        key = qkv.key[part]  # (entry, head, key, dim)
        self.store.put(
            context.step.index, context.layer.name, qkv.query[part], key[:1] if context.layer.kind == "cross" else key
        )
        if context.layer.name == self.last:
            raise SourceComplete
        return context, qkv

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Mark the step as complete in the store.

        Raises:
            AttentionError: If the step cannot be written.
        """
        try:
            self.store.close_step(step.index)
        except OSError as error:
            raise AttentionError(
                f"cannot store the source's attention in {error.filename}: {error.strerror or error}; free disk "
                "space, set TMPDIR to another folder, or compute the attention again instead (supplier live)"
            ) from error
        return latents


class RecordedSource:
    """The source's attention, read from a store.

    Args:
        store: Store that a `Recorder` filled during inversion.
        device: Device on which the attention is used.
    """

    def __init__(self, store: AttentionStore, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._probs: dict[str, torch.Tensor] = {}
        self._index = -1

    @property
    def index(self) -> int:
        """Index of the current step, or -1 before the first one."""
        return self._index

    def advance(self, index: int) -> None:
        """Move to step ``index``."""
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
                    f"the source's attention of step {self._index} in {layer.name} has the shape {tuple(x.shape)} "
                    f"instead of (frame, {layer.heads}, position, {depth}); invert the clip again"
                )
        return query.to(self.device), key.to(self.device)

    def probs(self, layer: Layer) -> torch.Tensor:
        """Return the source's cross-attention of a layer in the current step, (frame, head, query, token), float32."""
        if layer.name not in self._probs:
            query, key = self.query_key(layer)
            # (frame, head, query, dim) x (1 or frame, head, dim, token) -> (frame, head, query, token): the text is the
            # same for all frames, so its keys are stored once.
            scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
            self._probs[layer.name] = scores.softmax(dim=-1)
        return self._probs[layer.name]


class LiveSource(RecordedSource):
    """The source's attention, computed again one step at a time from the latents of the inversion.

    Args:
        run: ``(k, recorder)``, which evaluates the network on the source's latents at step k with the recorder
            installed.
        device: Device on which the attention is used.
        last: Name of the last layer of interest. None runs the whole network.
    """

    def __init__(self, run: Callable[[int, Recorder], object], device: torch.device, last: str | None = None) -> None:
        self._memory = MemoryStore()
        super().__init__(self._memory, device)
        self._recorder = Recorder(self._memory, last)
        self._run = run

    def advance(self, index: int) -> None:
        """Run the source at step ``index``, unless that is the current step."""
        if index == self._index:
            return
        self._memory.clear()
        super().advance(index)
        with contextlib.suppress(SourceComplete):
            self._run(index, self._recorder)
        if not self._memory.entries():
            raise AttentionError(
                "this network has no attention layer whose grid is at most half the latent grid, and the source's "
                "attention is stored only in such layers; use a method that does not need it, such as ddim or masactrl"
            )
