"""Training-free, text-driven video editing that keeps who is in the video fair."""

from faircut._version import __version__

__all__ = ["__version__"]
