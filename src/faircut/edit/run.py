"""One edit of one clip from file to files: what the command line, the web page and batches all run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from faircut.config.values import to_dict
from faircut.edit.preflight import check_method, check_output, check_prompts, edit_files
from faircut.edit.progress import Progress, Silent
from faircut.edit.request import RunSettings, parse_device, save_settings
from faircut.edit.session import Prepared, Session, open_cache
from faircut.errors import ConfigError, FaircutError, ReconstructionWarning, VideoError
from faircut.files import all_or_nothing, save_picture
from faircut.report import Environment, PeakMemory, RunReport, Stopwatch, describe_clip, save_report
from faircut.report.alignment import AlignmentTable
from faircut.report.pictures import MapCapture, draw_heat_maps, draw_masks, fit_for_players
from faircut.video import Video, read_video, side_by_side, write_video

__all__ = ["read_clip", "run_edit"]


def run_edit(settings: RunSettings, progress: Progress | None = None, *, session: Session | None = None) -> RunReport:
    """Read a clip, invert it, edit it, and write the result with all that belongs to it, or nothing at all.

    Beside ``out.mp4`` come ``out.side_by_side.mp4``, ``out.report.json``, ``out.run.yaml`` and, when asked for,
    ``out.masks.png`` and ``out.attention.png``.

    Args:
        settings: of the run.
        progress: shows how far it is; what it raises ends the run between two steps.
        session: holds the model that the settings name, loaded already, with its cache; by default both are this run's
            own.

    Returns:
        The report, as it was written.

    Raises:
        FaircutError: If an input cannot be used; found before time is spent where possible.
    """
    progress = progress or Silent()
    clock = Stopwatch()
    caught: list[str] = []
    method = settings.build_method()
    check_method(settings, method)
    check_output(settings, edit_files(settings))
    parse_device(settings.device, settings.dtype)
    if session is not None and session.loaded not in (None, (settings.model, settings.lora)):
        raise ConfigError(
            f"the session holds {session.loaded}, and the run is to use {(settings.model, settings.lora)}; load "
            "another session, or change the settings"
        )
    with _collect_warnings(caught):
        cache = open_cache(settings) if session is None else None
        with clock.stage("read"), progress.stage("Reading"):
            video = read_clip(settings)
            alignment = check_prompts(settings, method)
        request = settings.request(method=method)
        used = session
        if used is None:
            with clock.stage("load"), progress.stage("Loading the model"):
                used = Session.of(settings, [request], cache)
        prepared = used.prepare(request, video, progress=progress)
        capture = MapCapture() if settings.save_masks or settings.save_attention else None
        with clock.stage("edit"):
            edited = used.edit(prepared, watch=[] if capture is None else [capture], progress=progress).video
        assert edited is not None
        report = _report(settings, used, prepared, video, alignment, clock)
        # Recorded attention must not lie beside the pictures that are drawn now.
        del prepared, used
        with progress.stage("Writing"):
            return _write(settings, report, video, edited, capture, clock, caught)


def read_clip(settings: RunSettings) -> Video:
    """Read the clip that the settings name.

    Raises:
        VideoError: If the clip cannot be read as asked.
    """
    return read_video(
        settings.clip,
        num_frames=settings.num_frames,
        start=settings.start,
        stride=settings.stride,
        size=settings.size,
    )


def _report(
    settings: RunSettings,
    session: Session,
    prepared: Prepared,
    video: Video,
    alignment: AlignmentTable,
    clock: Stopwatch,
) -> RunReport:
    """Say what an edit did, but for what writing it adds."""
    inversion, method = prepared.inversion, prepared.method
    edit = clock.seconds.pop("edit")
    clock.seconds.update({**prepared.seconds, "edit": edit})
    return RunReport(
        settings=to_dict(replace(settings, temporal=inversion.temporal)),
        method={"name": method.name, **to_dict(method)},
        environment=Environment.of(session.device, session.editor.backbone.dtype),
        clip=describe_clip(video, settings.clip),
        model={"name": settings.model, "fingerprint": inversion.model, "lora": list(settings.lora)},
        supplier=inversion.supplier,
        inversion_from_cache=prepared.from_cache,
        stored_bytes=inversion.stored_bytes,
        reconstruction_psnr=inversion.reconstruction_psnr,
        alignment=to_dict(alignment),
        people=tuple(map(to_dict, prepared.decisions)),
        seconds=clock.seconds,
        peak_memory=PeakMemory.now(),
        warnings=(),
        outputs={},
        seed=settings.seed,
    )


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
