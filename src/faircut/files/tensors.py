"""Write safetensors files completely or not at all, and compute digests of files."""

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
    """Write tensors to a safetensors file, completely or not at all, with the permissions of the user's umask.

    Args:
        tensors: Tensors by name, on any device.
        path: Path of the file.
        metadata: Metadata of the safetensors file.

    Raises:
        OSError: If the file system refuses, for example because the disk is full.
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
    """Convert the error that safetensors raises when it cannot write a file into an OSError.

    Args:
        path: Path of the file for the error message.
    """
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number) if code else str(error), str(path)) from error


def file_digest(path: Path) -> str:
    """Return a digest of a file's content, 32 hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
