"""A model kept warm: a clip is prepared once for an edit, then edited, one request after another."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch.nn import functional as F

from faircut.attention.source import DiskStore
from faircut.edit.editor import EditResult, VideoEditor, warn_of_reconstruction
from faircut.edit.inversion import Inversion, facts_digest, find_inversion, keep_inversion
from faircut.edit.preflight import check_method
from faircut.edit.progress import Advance, Progress, Silent
from faircut.edit.readers import load_reader
from faircut.edit.request import EditRequest, RunSettings, parse_device, split_scale
from faircut.errors import ConfigError, ModelError
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration, find_calibration
from faircut.fairness.people import Decision
from faircut.fairness.perception import Reader
from faircut.files import HeldFolder
from faircut.files.cache import Cache, user_cache
from faircut.methods.base import NULL_TEXT_STEPS, Method, Watcher
from faircut.model.fingerprint import key_of
from faircut.model.loading import check_lora, load_lora
from faircut.prompts import Prompt
from faircut.report import Stopwatch
from faircut.video import Video

__all__ = ["Prepared", "Session", "load_editor", "open_cache"]

_INVERTING = ("invert", "reconstruct", "cache")


@dataclass(frozen=True)
class Prepared:
    """A clip made ready for one edit: expensive once, edited cheaply.

    Attributes:
        request: what is asked for.
        method: the request's method with everything decided.
        inversion: of the clip.
        decisions: what was decided for each person; empty for methods that decide nothing.
        from_cache: whether the inversion was found, in memory or on disk, rather than made.
        seconds: of each stage, such as ``"invert"``, ``"reconstruct"``, ``"null-text"`` and ``"people"``.
    """

    request: EditRequest
    method: Method
    inversion: Inversion
    decisions: tuple[Decision, ...] = ()
    from_cache: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def preparing(self) -> float:
        """Seconds of what the method needed beside the inversion, such as null-text optimisation."""
        return sum(seconds for stage, seconds in self.seconds.items() if stage not in _INVERTING)


class Session:
    """A loaded model that prepares and makes edits, one at a time, whichever thread asks.

    The inversions of the last clip stay in memory, at most one of them with recorded attention, which is large. Use it
    as a context manager, or call `close`, to let go of them.

    Args:
        editor: the model; nothing else may use it meanwhile. After a change of it, such as another LoRA, call `close`.
        cache: where inversions are kept on disk and found again by content; None for nowhere.
        reader: reads what is perceived of people, for methods that ask; None for no reader.
        clock: gives seconds, for `Prepared.seconds`.

    Attributes:
        editor: the model.
        cache: where inversions are kept on disk.
        loaded: the model and the LoRAs that were named to `load`; None for a session of an editor.
        clock: gives seconds.
    """

    def __init__(
        self,
        editor: VideoEditor,
        *,
        cache: Cache | None = None,
        reader: Reader | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.editor = editor
        self.cache = cache
        self.loaded: tuple[str, tuple[str, ...]] | None = None
        self.clock = clock
        self._reader: Callable[[], Reader | None] = lambda: reader
        self._lock = threading.RLock()
        self._fingerprint = ""
        self._clip = ""  # Digest of the clip whose inversions are kept.
        self._inversions: dict[str, Inversion] = {}
        self._null_text: tuple[str, torch.Tensor] | None = None

    @classmethod
    def load(
        cls,
        model: str = "pocket",
        *,
        lora: Sequence[str] = (),
        device: str = "auto",
        dtype: str = "auto",
        reader: str = "auto",
        cache: Cache | None = None,
        requests: Sequence[EditRequest] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> Session:
        """Load a model.

        Args:
            model: ``"pocket"``, a Stable Diffusion folder or a name on the hub.
            lora: LoRA files, folders or names on the hub, each with ``:scale`` or without.
            device: a torch device, or ``"auto"``.
            dtype: ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"auto"`` (half precision on CUDA, float32
                elsewhere).
            reader: who reads what is perceived of people: ``"auto"`` (the judge, for the pocket model) or a CLIP;
                loaded when a method first asks.
            cache: where inversions are kept on disk, from `open_cache`.
            requests: that will be made; what their methods lack is said now: a reader before the model is loaded,
                layers of the model after.
            clock: gives seconds, for `Prepared.seconds`.

        Raises:
            ConfigError, ModelError: something cannot be loaded, or a method lacks a reader.
            AttentionError: the model lacks a layer that a method names.
        """
        readers = functools.cache(functools.partial(load_reader, reader, model))
        methods = [(request.method, request.prompt) for request in requests if request.method is not None]
        for method, prompt in methods:
            if method.reads_people:
                method.check_reader(readers(), prompt)
        session = cls(load_editor(model, lora, device, dtype), cache=cache, clock=clock)
        session._reader, session.loaded = readers, (model, tuple(lora))
        for method, _ in methods:
            method.check_model(session.editor.backbone)
        return session

    @classmethod
    def of(cls, settings: RunSettings, requests: Sequence[EditRequest] = (), cache: Cache | None = None) -> Session:
        """Load the model that a run's settings name; see `load`."""
        return cls.load(
            settings.model,
            lora=settings.lora,
            device=settings.device,
            dtype=settings.dtype,
            reader=settings.reader,
            cache=cache,
            requests=requests,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the inversions in memory, and look at the model anew; the session can still be used."""
        with self._lock:
            self._fingerprint = ""
            self._forget()

    def _forget(self) -> None:
        self._clip, self._null_text = "", None
        self._inversions.clear()

    # What it is made of -------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.editor.execution_device

    @property
    def reader(self) -> Reader | None:
        """Reads what is perceived of people; loaded when it is first asked for."""
        return self._reader()

    @property
    def fingerprint(self) -> str:
        """Identifies the model by all that acts in it; it is computed once, since it reads all weights."""
        with self._lock:  # While an edit runs, the UNet is not as it was.
            self._fingerprint = self._fingerprint or self.editor.fingerprint
            return self._fingerprint

    def key(self, request: EditRequest, clip: Video | torch.Tensor | str, **more: Any) -> str:
        """Name the edit that a request asks for, by all that decides it; or the inversion, where there is no method.

        Two requests with the same name give the same result on this kind of device with these versions of the
        libraries, but for rounding where one takes the source's attention from a record and the other computes it
        again.

        Args:
            request: what is asked for.
            clip: the clip, its frames or latents; or a digest of them, and of whatever else belongs to it.
            more: whatever else decides, by name.

        Returns:
            32 hexadecimal digits.
        """
        with self._lock:
            if request.method is not None:
                more = {**request.method.decided_by(_Preparing(self, request)), **more}
            if request.inversion is not None:
                more = {"inversion": facts_digest(request.inversion), **more}
            return request.key(
                clip.frames if isinstance(clip, Video) else clip,
                model=self.fingerprint,
                device=self.device.type,
                temporal=request.seen(self.editor.spatial_temporal),
                **more,
            )

    # Preparing ----------------------------------------------------------------------------------------------------

    def prepare(
        self, request: EditRequest, video: Video | torch.Tensor, *, progress: Progress | None = None
    ) -> Prepared:
        """Do all that an edit needs once for its clip: invert it, or find its inversion, and what the method needs
        more.

        Args:
            request: what is asked for.
            video: a clip; or its frames, (frame, 3, height, width), RGB in [-1, 1]; or its scaled latents,
                (frame, latent channel, height, width).
            progress: shows how far it is; what it raises ends the run between two steps.

        Returns:
            What `edit` takes.

        Raises:
            FaircutError: If an input cannot be used; found before time is spent where possible.

        Warns:
            ReconstructionWarning: the inversion is known to lose the clip.
        """
        progress = progress or Silent()
        with self._lock:
            self.editor.check_clip(video.frames if isinstance(video, Video) else video)
            self._check(request)
            clock = Stopwatch(clock=self.clock)
            inversion, from_cache = self._inverted(request, video, clock, progress)
            prepared = Prepared(request, request.method or Method(), inversion, from_cache=from_cache)
            if request.method is not None:
                ready = request.method.prepare(_Preparing(self, request, clock, progress), inversion)
                prepared = replace(prepared, method=ready.method, inversion=ready.inversion, decisions=ready.decisions)
            return replace(prepared, seconds=dict(clock.seconds))

    def _check(self, request: EditRequest) -> None:
        """Say what is wrong with a request before time is spent.

        Raises:
            FaircutError: something is.
        """
        source, method = self.editor.tokenize(request.source_prompt), request.method
        if method is None:
            return
        check_method(request, method)
        method.check(source, self.editor.tokenize(request.prompt))
        self.editor.tokenize(request.negative_prompt)
        method.check_model(self.editor.backbone)
        if method.reads_people:
            method.check_reader(self.reader, request.prompt)

    def _inverted(
        self, request: EditRequest, video: Video | torch.Tensor, clock: Stopwatch, progress: Progress
    ) -> tuple[Inversion, bool]:
        """Return a clip's inversion, and whether it was found rather than made."""
        temporal = request.seen(self.editor.spatial_temporal)
        request = replace(request, method=None, temporal=temporal)
        if request.inversion is not None:
            loaded = self._load(request, video, request.inversion)
            warn_of_reconstruction(loaded)
            return loaded, False
        clip = video.frames if isinstance(video, Video) else video
        name = self.key(request, clip)
        inversion = self._recall(name, clip, request.supplier)
        from_cache = in_memory = inversion is not None
        if inversion is None:
            supplier = self.editor.choose_supplier(
                request.supplier, clip, request.num_inference_steps, request.memory_budget
            )
            with (
                clock.stage("invert"),
                progress.stage("Inverting", request.num_inference_steps) as advance,
            ):
                inversion = find_inversion(self.cache, _with_attention(name, supplier != "live"))
                from_cache = inversion is not None
                if inversion is None:
                    inversion = self._invert(request, clip, supplier, advance)
        warn_of_reconstruction(inversion)  # Found, it is as bad as it was when it was made.
        measure = request.reconstruction and inversion.reconstruction_psnr is None
        if measure:
            with (
                clock.stage("reconstruct"),
                progress.stage("Reconstructing", request.num_inference_steps) as advance,
            ):
                _, inversion = self.editor.reconstruct(inversion, callback_on_step_end=_callback(advance))
        if measure or not in_memory:
            with clock.stage("cache"):
                keep_inversion(self.cache, _with_attention(name, inversion.attention is not None), inversion)
        self._inversions[name] = inversion
        if request.supplier == "live":
            inversion = replace(inversion, attention=None)
        return inversion.of_clip(video if isinstance(video, Video) else None), from_cache

    def _recall(self, name: str, clip: torch.Tensor, supplier: str) -> Inversion | None:
        """Return an inversion that is in memory; what is in the way of a new one is let go of."""
        digest = key_of(clip=clip)
        if digest != self._clip:
            self._forget()
            self._clip = digest
        inversion = self._inversions.get(name)
        if inversion is not None and (supplier in ("auto", "live") or inversion.attention is not None):
            return inversion
        if supplier != "live":  # Recorded attention is large: never hold two.
            self._inversions = {key: kept for key, kept in self._inversions.items() if kept.attention is None}
        return None

    def _invert(
        self, request: EditRequest, clip: torch.Tensor, supplier: Literal["live", "memory", "disk"], advance: Advance
    ) -> Inversion:
        """Invert a clip; attention that is recorded on disk goes with the inversion."""
        folder = HeldFolder() if supplier == "disk" else None
        try:
            inversion = self.editor.invert(
                clip,
                request.source_prompt,
                num_inference_steps=request.num_inference_steps,
                temporal=request.temporal,
                fixed_point_steps=request.fixed_point_steps,
                supplier=supplier,
                attention_folder=None if folder is None else folder.path,
                callback_on_step_end=_callback(advance),
            )
        except BaseException:
            if folder is not None:
                folder.close()
            raise
        if inversion.model != self.fingerprint:
            raise ModelError(
                "the model was changed while a session used it; call close() on the session after a change"
            )
        if isinstance(inversion.attention, DiskStore):
            inversion.attention.owner = folder
        return inversion

    def _load(self, request: EditRequest, video: Video | torch.Tensor, folder: str) -> Inversion:
        """Load an inversion from a folder, and check that it is of this clip and as requested.

        Raises:
            ConfigError: it is not, or there is none in the folder.
            ModelError: it belongs to another model.
        """
        inversion = Inversion.load(folder)
        self.editor.check_model(inversion)
        clip = video.frames if isinstance(video, Video) else video
        of_frames = clip.shape[1] == 3
        for what, requested, loaded in (
            ("source prompt", request.source_prompt, inversion.source_prompt),
            ("frame count", len(clip), inversion.num_frames),
            ("size", tuple(clip.shape[-2:]) if of_frames else inversion.size, inversion.size),
            ("number of steps", request.num_inference_steps, inversion.num_inference_steps),
            ("temporal setting", request.temporal, inversion.temporal),
            ("share of fixed-point steps", request.fixed_point_steps, inversion.fixed_point_steps),
        ):
            if requested != loaded:
                raise ConfigError(
                    f"the inversion in {folder} has the {what} {loaded!r}, but the run has {requested!r}; give the "
                    "same, or invert again"
                )
        if of_frames:
            # Means of small blocks, because decoders differ by a level here and there.
            same = inversion.frames is None or _levels_apart(inversion.frames, clip) <= 4.0
        else:
            same = torch.allclose(inversion.latents[0].float(), clip.cpu().float(), rtol=0.01, atol=0.01)
        if not same:
            raise ConfigError(f"the inversion in {folder} is of other pictures than the clip; invert this clip")
        return inversion.of_clip(video if isinstance(video, Video) else None)

    def locate(self, inversion: Inversion, words: str | Sequence[str], **options: Any) -> torch.Tensor:
        """Find words of the source prompt in a clip, see `VideoEditor.locate`."""
        with self._lock:
            return self.editor.locate(inversion, words, **options)

    def decode(self, inversion: Inversion) -> torch.Tensor:
        """Return an inverted clip as the VAE alone gives it back, (frame, 3, height, width) in [-1, 1]."""
        with self._lock:
            return self.editor.decode(inversion.latents[0].float(), inversion.size)

    # Editing ------------------------------------------------------------------------------------------------------

    def edit(
        self,
        prepared: Prepared,
        *,
        watch: Sequence[Watcher] = (),
        output_type: Literal["video", "latent"] = "video",
        progress: Progress | None = None,
    ) -> EditResult:
        """Edit what was prepared.

        Args:
            prepared: what `prepare` gave.
            watch: controllers that observe the edit; the edit is the same without them.
            output_type: ``"video"`` or ``"latent"``.
            progress: shows how far it is; what it raises ends the edit between two steps.

        Raises:
            FaircutError: the edit cannot be made.
        """
        if not isinstance(prepared, Prepared):
            raise ConfigError(
                f"a {type(prepared).__name__} cannot be edited; give what Session.prepare(request, video) returns"
            )
        request, progress = prepared.request, progress or Silent()
        with self._lock, progress.stage("Editing", request.num_inference_steps) as advance:
            return self.editor.edit(
                prepared.inversion,
                request.prompt,
                prepared.method,
                guidance_scale=request.guidance_scale,
                negative_prompt=request.negative_prompt,
                output_type=output_type,
                generator=torch.Generator().manual_seed(request.seed),
                callback_on_step_end=_callback(advance),
                watch=watch,
            )

    def null_text(
        self, inversion: Inversion, *, guidance_scale: float, progress: Progress | None = None, **options: Any
    ) -> Inversion:
        """Return an inversion with null-text embeddings; the last ones are kept in memory.

        Args:
            inversion: of the clip.
            guidance_scale: g of the edits that it is for.
            progress: shows how far it is.
            options: as in `VideoEditor.optimise_null_text`.
        """
        progress = progress or Silent()
        with self._lock, progress.stage("Optimising", inversion.num_inference_steps) as advance:
            name = key_of(
                latents=inversion.latents,
                facts=(inversion.model, inversion.source_prompt, inversion.temporal, guidance_scale, options),
            )
            if self._null_text is None or self._null_text[0] != name:
                optimised = self.editor.optimise_null_text(
                    inversion, guidance_scale=guidance_scale, callback_on_step_end=_callback(advance), **options
                )
                assert optimised.null_embeddings is not None
                self._null_text = name, optimised.null_embeddings
            return replace(inversion, null_embeddings=self._null_text[1])


@dataclass(frozen=True)
class _Preparing:
    """What a method may ask for while one request is prepared: a `faircut.methods.base.EditSession`."""

    session: Session
    request: EditRequest
    clock: Stopwatch = field(default_factory=Stopwatch)
    progress: Progress = field(default_factory=Silent)

    @property
    def prompt(self) -> str:
        return self.request.prompt

    @property
    def guidance_scale(self) -> float:
        return self.request.guidance_scale

    @property
    def seed(self) -> int:
        return self.request.seed

    @property
    def reader(self) -> Reader | None:
        return self.session.reader

    def calibration(self, attribute: Attribute) -> Calibration | None:
        return find_calibration(self.session.editor, attribute)

    def tokenize(self, text: str) -> Prompt:
        return self.session.editor.tokenize(text)

    def locate(self, inversion: Inversion, words: str | Sequence[str]) -> torch.Tensor:
        return self.session.locate(inversion, words)

    def optimise_null_text(
        self, inversion: Inversion, *, inner_steps: int = NULL_TEXT_STEPS, shared: bool = False
    ) -> Inversion:
        with self.clock.stage("null-text"):
            return self.session.null_text(
                inversion,
                guidance_scale=self.guidance_scale,
                progress=self.progress,
                inner_steps=inner_steps,
                shared=shared,
            )

    @contextmanager
    def stage(self, name: str, label: str, total: int | None = None) -> Iterator[Advance]:
        with self.clock.stage(name), self.progress.stage(label, total) as advance:
            yield advance


# Loading --------------------------------------------------------------------------------------------------------------


def load_editor(model: str, lora: Sequence[str] = (), device: str = "auto", dtype: str = "auto") -> VideoEditor:
    """Load a model, its LoRAs included, onto a device; the arguments are those of `Session.load`.

    Raises:
        ConfigError: If the device or the dtype does not exist here.
        ModelError: something cannot be loaded.
    """
    place, precision = parse_device(device, dtype)
    for text in lora:
        check_lora(split_scale(text)[0])
    editor = VideoEditor.from_pretrained(model, dtype=precision)
    editor.set_progress_bar_config(disable=True)
    names, scales = [], []
    for index, text in enumerate(lora):
        path, scale = split_scale(text)
        load_lora(editor, path, f"lora_{index}")
        names.append(f"lora_{index}")
        scales.append(scale)
    if names:
        editor.set_adapters(names, scales)
    return editor.to(place)


def open_cache(settings: RunSettings) -> Cache | None:
    """Return the user's cache of inversions, if the run uses one; what is wrong with it is said before time is spent.

    Raises:
        ConfigError: the environment names a place or a limit that cannot be used.
    """
    return user_cache() if settings.cache and settings.inversion is None else None


def _with_attention(name: str, recorded: bool) -> str:
    """Name an inversion on disk, where the source's attention may be kept with it."""
    return key_of(inversion=name, recorded=recorded)


def _levels_apart(kept: torch.Tensor, frames: torch.Tensor) -> float:
    """Return the largest mean difference in blocks of 4 x 4 of pictures as uint8 and in [-1, 1], of 255 levels."""
    apart = 0.0
    for a, b in zip(kept, frames, strict=True):
        blocks = F.avg_pool2d((a.float() - (b + 1) * 127.5).abs()[None], 4, ceil_mode=True)
        apart = max(apart, float(blocks.max()))
    return apart


def _callback(advance: Advance) -> Callable[..., None]:
    def step_end(editor: Any, index: int, timestep: int, tensors: dict[str, torch.Tensor]) -> None:
        advance()

    return step_end
