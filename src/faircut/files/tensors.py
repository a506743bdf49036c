"""Files of tensors: written whole or not at all, their errors those of any file, and known by their content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from faircut.files import all_or_nothing

__all__ = ["file_digest", "save_tensors", "writing_tensors"]


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, whole or not at all, readable by whom the user's umask says.

    Args:
        tensors: by name, on any device.
        path: of the file.
        metadata: what the file says about itself.

    Raises:
        OSError: the file system refuses, such as for want of space.
    """
    # safetensors writes to a name of its own beside the file first, which a killed process would leave there; and it
    # gives its files to their owner alone, whatever the umask.
    with all_or_nothing({"tensors": path}) as files, writing_tensors(path):
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            files["tensors"],
            dict(metadata) if metadata else None,
        )
        probe = files["tensors"].with_name("umask")
        probe.touch()
        files["tensors"].chmod(probe.stat().st_mode)


@contextmanager
def writing_tensors(path: Path) -> Iterator[None]:
    """Turn what safetensors raises when it cannot write a file into the OSError that it is.

    Args:
        path: what is written, for the error.
    """
    try:
        yield
    except SafetensorError as error:
        known = re.search(r"os error (\d+)", str(error))
        number = int(known[1]) if known else errno.EIO
        raise OSError(number, os.strerror(number) if known else str(error), str(path)) from error


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes, 32 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
