"""Training-free, text-driven video editing that keeps who is in the video fair."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from faircut._version import __version__

if TYPE_CHECKING:
    from faircut.config.values import SpatialTemporal
    from faircut.edit.editor import EditResult, VideoEditor
    from faircut.edit.inversion import Inversion
    from faircut.edit.plan import plan
    from faircut.edit.request import EditRequest, RunSettings
    from faircut.edit.run import run_edit
    from faircut.edit.session import Prepared, Session
    from faircut.errors import FaircutError
    from faircut.video import Video, read_video, write_video

# Loaded when first used: importing torch and diffusers takes seconds, `faircut --help` must not.
_HOMES = {
    "EditRequest": "edit.request",
    "EditResult": "edit.editor",
    "FaircutError": "errors",
    "Inversion": "edit.inversion",
    "Prepared": "edit.session",
    "RunSettings": "edit.request",
    "Session": "edit.session",
    "SpatialTemporal": "config.values",
    "Video": "video",
    "VideoEditor": "edit.editor",
    "plan": "edit.plan",
    "read_video": "video",
    "run_edit": "edit.run",
    "write_video": "video",
}

__all__ = [
    "EditRequest",
    "EditResult",
    "FaircutError",
    "Inversion",
    "Prepared",
    "RunSettings",
    "Session",
    "SpatialTemporal",
    "Video",
    "VideoEditor",
    "__version__",
    "plan",
    "read_video",
    "run_edit",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'faircut' has no attribute {name!r}")
    return getattr(import_module(f"faircut.{_HOMES[name]}"), name)
