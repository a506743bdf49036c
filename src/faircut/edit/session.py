"""One edit of one clip from file to files: what the command line, the web page and batches all run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from faircut.config.values import SpatialTemporal, to_dict
from faircut.edit.editor import VideoEditor, warn_of_reconstruction
from faircut.edit.inversion import Inversion, find_inversion, keep_inversion
from faircut.edit.people import Decision, decide, load_reader
from faircut.edit.preflight import check_method, check_output, check_prompts, edit_files
from faircut.edit.request import RunSettings, parse_device, save_settings, split_scale
from faircut.errors import ConfigError, FaircutError, ReconstructionWarning, VideoError
from faircut.files import all_or_nothing, save_picture, workspace
from faircut.files.cache import Cache, user_cache
from faircut.methods import Fame
from faircut.model.loading import check_lora, load_lora
from faircut.report import Environment, PeakMemory, RunReport, Stopwatch, describe_clip, save_report
from faircut.report.pictures import MapCapture, draw_heat_maps, draw_masks, fit_for_players
from faircut.video import Video, read_video, side_by_side, write_video

__all__ = ["Progress", "invert_clip", "load_editor", "open_cache", "read_clip", "run_edit"]

Advance = Callable[[], None]


class Progress(Protocol):
    """Shows how far a run is."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a stage of so many steps (None: unknown); what it gives is called after each step."""


class _Silent:
    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        return nullcontext(lambda: None)


def run_edit(settings: RunSettings, progress: Progress | None = None) -> RunReport:
    """Read a clip, invert it, edit it, and write the result with all that belongs to it, or nothing at all.

    Beside ``out.mp4`` come ``out.side_by_side.mp4``, ``out.report.json``, ``out.run.yaml`` and, when asked for,
    ``out.masks.png`` and ``out.attention.png``.

    Args:
        settings: of the run.
        progress: shows how far it is.

    Returns:
        The report, as it was written.

    Raises:
        FaircutError: something that was given cannot be used; found before time is spent where possible.
    """
    progress = progress or _Silent()
    clock = Stopwatch()
    caught: list[str] = []
    method = settings.build_method()
    check_method(settings, method)
    check_output(settings, edit_files(settings))
    device, dtype = parse_device(settings.device, settings.dtype)
    with _collect_warnings(caught):
        cache = open_cache(settings)
        with clock.stage("read"), progress.stage("Reading"):
            video = read_clip(settings)
            table = check_prompts(settings, method)
            reader = _reader(settings, method)
        with clock.stage("load"), progress.stage("Loading the model"):
            editor = load_editor(settings, device, dtype)
            method.check_model(editor.unet)
        with workspace() as attention:
            temporal = settings.seen(method, editor.spatial_temporal)
            inversion, cached = invert_clip(editor, video, settings, temporal, attention, cache, clock, progress)
            if method.null_text and inversion.null_embeddings is None:
                with clock.stage("null-text"), progress.stage("Optimising", settings.num_inference_steps) as advance:
                    inversion = editor.optimise_null_text(
                        inversion, guidance_scale=settings.guidance_scale, callback_on_step_end=_callback(advance)
                    )
            decisions: tuple[Decision, ...] = ()
            if isinstance(method, Fame):
                with clock.stage("people"), progress.stage("Looking at people"):
                    method, decisions = decide(
                        editor, inversion, settings.prompt, method, reader=reader, seed=settings.seed
                    )
            capture = MapCapture() if settings.save_masks or settings.save_attention else None
            with clock.stage("edit"), progress.stage("Editing", settings.num_inference_steps) as advance:
                result = editor.edit(
                    inversion,
                    settings.prompt,
                    method,
                    guidance_scale=settings.guidance_scale,
                    negative_prompt=settings.negative_prompt,
                    generator=torch.Generator().manual_seed(settings.seed),
                    callback_on_step_end=_callback(advance),
                    watch=[] if capture is None else [capture],
                )
        report = RunReport(
            settings=to_dict(replace(settings, temporal=temporal)),
            method={"name": method.name, **to_dict(method)},
            environment=Environment.of(device, editor.unet.dtype),
            clip=describe_clip(video, settings.clip),
            model={"name": settings.model, "fingerprint": editor.fingerprint, "lora": list(settings.lora)},
            supplier="live" if inversion.attention is None else "disk" if _on_disk(inversion) else "memory",
            inversion_from_cache=cached,
            stored_bytes=inversion.stored_bytes,
            reconstruction_psnr=inversion.reconstruction_psnr,
            alignment=to_dict(table),
            people=tuple(map(to_dict, decisions)),
            seconds=clock.seconds,
            peak_memory=PeakMemory.now(),
            warnings=(),
            outputs={},
            seed=settings.seed,
        )
        # Recorded attention must not lie beside the pictures that are drawn now.
        del inversion, editor
        assert result.video is not None
        with progress.stage("Writing"):
            return _write(settings, report, video, result.video, capture, clock, caught)


def _reader(settings: RunSettings, method: Any) -> Any:
    """Load who reads people, if anybody is to be read.

    Raises:
        ConfigError: somebody is, and nobody does.
    """
    if not isinstance(method, Fame):
        return None
    reader = load_reader(settings.reader, settings.model)
    if reader is None and any(person.target == "preserve" for person in method.people):
        raise ConfigError(
            f"target 'preserve' needs somebody who reads the perceived {method.attribute} in the source; give --reader and "
            "a CLIP (such as openai/clip-vit-large-patch14), or name a value, such as --target female"
        )
    return reader


def read_clip(settings: RunSettings) -> Video:
    """Read the clip that the settings name.

    Raises:
        VideoError: it cannot be read as asked.
    """
    return read_video(
        settings.clip,
        num_frames=settings.num_frames,
        start=settings.start,
        stride=settings.stride,
        size=settings.size,
    )


def load_editor(settings: RunSettings, device: torch.device, dtype: torch.dtype) -> VideoEditor:
    """Load the model, its LoRAs included, onto a device.

    Raises:
        ModelError: it cannot be loaded.
    """
    for text in settings.lora:
        check_lora(split_scale(text)[0])
    editor = VideoEditor.from_pretrained(settings.model, dtype=dtype)
    editor.set_progress_bar_config(disable=True)
    names, scales = [], []
    for index, text in enumerate(settings.lora):
        path, scale = split_scale(text)
        load_lora(editor, path, f"lora_{index}")
        names.append(f"lora_{index}")
        scales.append(scale)
    if names:
        editor.set_adapters(names, scales)
    return editor.to(device)


def open_cache(settings: RunSettings) -> Cache | None:
    """Return the user's cache of inversions, if the run uses one; what is wrong with it is said before time is spent.

    Raises:
        ConfigError: the environment names a place or a limit that is none.
    """
    return user_cache() if settings.cache and settings.inversion is None else None


def invert_clip(
    editor: VideoEditor,
    video: Video,
    settings: RunSettings,
    temporal: SpatialTemporal,
    attention: Path,
    cache: Cache | None,
    clock: Stopwatch,
    progress: Progress | None = None,
) -> tuple[Inversion, bool]:
    """Invert a clip, or find its inversion, and measure how well it gives the clip back.

    Args:
        editor: the loaded model.
        video: the clip.
        settings: of the run.
        temporal: how the frames see each other.
        attention: an empty folder for attention recorded on disk; must outlive the inversion.
        cache: where inversions are kept and found, from `open_cache`.
        clock: takes the times of the stages "invert" and "reconstruct".
        progress: shows how far it is.

    Returns:
        The inversion, and whether it was found in the cache.
    """
    progress = progress or _Silent()
    if settings.inversion is not None:
        inversion = _load_inversion(editor, video, settings, temporal, settings.inversion)
        warn_of_reconstruction(inversion)
        return inversion, False
    steps = settings.num_inference_steps
    supplier = editor.choose_supplier(settings.supplier, video.frames, steps, settings.memory_budget)
    key = editor.inversion_key(
        video.frames,
        settings.source_prompt,
        steps,
        temporal,
        settings.fixed_point_steps,
        recorded=supplier != "live",
    )
    known = find_inversion(cache, key)
    with clock.stage("invert"), progress.stage("Inverting", steps) as advance:
        if known is not None:
            inversion = known.of_clip(video)
        else:
            inversion = editor.invert(
                video,
                settings.source_prompt,
                num_inference_steps=steps,
                temporal=temporal,
                fixed_point_steps=settings.fixed_point_steps,
                supplier=supplier,
                attention_folder=attention if supplier == "disk" else None,
                callback_on_step_end=_callback(advance),
            )
    warn_of_reconstruction(inversion)  # Found, it is as bad as it was when it was made.
    if settings.reconstruction and inversion.reconstruction_psnr is None:
        with clock.stage("reconstruct"), progress.stage("Reconstructing", steps) as advance:
            _, inversion = editor.reconstruct(inversion, callback_on_step_end=_callback(advance))
    with clock.stage("cache"):
        keep_inversion(cache, key, inversion)
    return inversion, known is not None


def _load_inversion(
    editor: VideoEditor, video: Video, settings: RunSettings, temporal: SpatialTemporal, folder: str
) -> Inversion:
    inversion = Inversion.load(folder)
    editor.check_model(inversion)
    for what, ours, theirs in (
        ("source prompt", settings.source_prompt, inversion.source_prompt),
        ("frame count", len(video), inversion.num_frames),
        ("size", video.size, inversion.size),
        ("number of steps", settings.num_inference_steps, inversion.num_inference_steps),
        ("temporal setting", temporal, inversion.temporal),
        ("share of fixed-point steps", settings.fixed_point_steps, inversion.fixed_point_steps),
    ):
        if ours != theirs:
            raise ConfigError(
                f"the inversion in {folder} has the {what} {theirs!r}, but the run has {ours!r}; give the same, "
                "or invert again"
            )
    # Means of small blocks, because decoders differ by a level here and there.
    if inversion.frames is not None and _levels_apart(inversion.frames, video.frames) > 4.0:
        raise ConfigError(f"the inversion in {folder} is of other pictures than {settings.clip}; invert this clip")
    return inversion.of_clip(video)


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


def _on_disk(inversion: Inversion) -> bool:
    return hasattr(inversion.attention, "folder")


# Writing --------------------------------------------------------------------------------------------------------------


def _write(
    settings: RunSettings,
    report: RunReport,
    source: Video,
    edited: Video,
    capture: MapCapture | None,
    clock: Stopwatch,
    caught: list[str],
) -> RunReport:
    """Write everything to a folder that is thrown away, and move it into place when all of it is there."""
    final = edit_files(settings)
    try:
        with all_or_nothing(final) as files:
            with clock.stage("write"):
                write_video(edited, files["video"])
                pair = [clip.with_frames(fit_for_players(clip.frames)) for clip in (source, edited)]
                write_video(side_by_side(pair, (settings.source_prompt, settings.prompt)), files["side_by_side"])
                if "masks" in files and capture is not None:
                    save_picture(draw_masks(source.frames, capture.masks, capture.regions), files["masks"])
                if "attention" in files and capture is not None:
                    save_picture(draw_heat_maps(source.frames, capture.maps()), files["attention"])
            save_settings(settings, files["settings"])
            report = replace(
                report,
                seconds=dict(clock.seconds),
                peak_memory=PeakMemory.now(),
                warnings=tuple(caught),
                outputs={kind: str(path) for kind, path in final.items() if kind == "report" or files[kind].exists()},
            )
            save_report(report, files["report"])
    except FaircutError:
        raise
    except OSError as error:
        raise VideoError(
            f"cannot write {final['video']}: {error.strerror or error}; choose another place with -o"
        ) from error
    return report


@contextmanager
def _collect_warnings(into: list[str]) -> Iterator[None]:
    """Note every warning of ours, and let it be shown as well."""
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        if issubclass(category, ReconstructionWarning) or "faircut" in Path(filename).parts:
            into.append(" ".join(str(message).split()))
        show(message, category, filename, *rest, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ReconstructionWarning)
        warnings.showwarning = note
        try:
            yield
        finally:
            warnings.showwarning = show
