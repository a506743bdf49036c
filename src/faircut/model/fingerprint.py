"""Identifying results and models by their content: keys of values, and fingerprints of models."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from faircut._version import __version__
from faircut.config.reading import read_json
from faircut.errors import FaircutError
from faircut.files import remove, write_json
from faircut.files.cache import cache_folder, private_folder

__all__ = ["fingerprint", "key_of", "read_from", "software"]

_LARGE = 256 << 20  # Bytes of weights above which digests are stored for other processes.
_MAX_STORED = 64  # Modules whose digests are stored.
_DIGEST_BYTES = 16  # Bytes of a key, written as twice as many hexadecimal digits.
# Entries of a configuration that describe its file or how it was written, not the model.
_NOTES = {"architectures", "dtype", "name_or_path", "torch_dtype", "transformers_version"}
# Attributes of modules that do not change what a model computes during an edit.
_IDLE = {"frames", "gradient_checkpointing", "name_or_path", "training", "use_slicing"}
_LAST_CALL = re.compile(r'"(?:truncation|padding)":(?:null|\{(?:[^{}]|\{[^{}]*\})*\}),?')
_TUNER = ("base_layer", "active_adapters", "disable_adapters", "scaling")


# Values ---------------------------------------------------------------------------------------------------------------


def key_of(**facts: Any) -> str:
    """Return a key for a result from everything that it depends on, independent of order, process and folder.

    Args:
        facts: Values by name: numbers, texts, None, tensors and arrays (by content), paths, dataclasses with all their
            fields, and mappings, sequences and sets of these. Equal numbers count as the same, whatever their type.

    Returns:
        32 hexadecimal digits.

    Raises:
        TypeError: If a value has another type, whose content cannot be read.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for piece in _pieces(facts):
        # Each piece is preceded by its length, so that two different lists of pieces never give the same bytes.
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    """Yield a value as bytes that depend on its content only."""
    if value is None or isinstance(value, bool):
        yield f"={value}".encode()
    elif isinstance(value, (int, float, np.number)):
        number = value.item() if isinstance(value, np.number) else value
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        yield f"#{number!r}".encode()
    elif isinstance(value, (str, PurePath, Fraction, torch.dtype, torch.device)):
        yield b"'" + str(value).encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        yield b"b" + value
    elif isinstance(value, torch.Tensor):
        yield f"tensor {tuple(value.shape)} {value.dtype} {_content(value)}".encode()
    elif isinstance(value, np.ndarray):
        yield from _pieces(torch.from_numpy(np.ascontiguousarray(value)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not config.to_dict, which leaves out values that are not written to a file, such as masks.
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        yield f"class {type(value).__name__}".encode()
        yield from _pieces(fields)
    elif isinstance(value, Mapping):
        yield f"{{{len(value)}".encode()
        for name, item in sorted((str(name), item) for name, item in value.items()):
            yield name.encode("utf-8", "surrogatepass")
            yield from _pieces(item)
    elif isinstance(value, (set, frozenset)):
        yield f"<{len(value)}".encode()
        yield from sorted(b"".join(_pieces(item)) for item in value)
    elif isinstance(value, (list, tuple, range)):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        raise TypeError(f"{type(value).__name__} {value!r} cannot be part of a key, because its content cannot be read")


# Tensors --------------------------------------------------------------------------------------------------------------

# By tensor, then by precision: the checksums of its content, and the digest of that content.
_digests_of_tensor: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _content(tensor: torch.Tensor, precision: bool = True, stored: dict[str, str] | None = None) -> str:
    """Return a digest of every byte of a tensor, computed only if it is not in ``stored`` under the tensor's checksums.

    For a tensor that was digested before and has not changed this costs one pass of additions, about a tenth of the
    digest. The content itself shows whether the tensor changed: torch's version counter misses changes through
    ``parameter.data``, which peft makes when it fuses adapters.
    """
    sums = _sums(tensor)
    digests = _digests_of_tensor.setdefault(tensor, {})
    entry = digests.get(precision)
    if entry is None or entry[0] != sums:
        name, stored = f"{sums.hex()} {precision}", {} if stored is None else stored
        if name not in stored:
            values = tensor.detach()
            if not precision and values.is_floating_point():
                values = values.half()
            # SHA-256 rather than BLAKE2: processors have instructions for it, which makes it twice as fast.
            stored[name] = hashlib.sha256(_bytes(values).cpu().numpy().data).hexdigest()
        entry = digests[precision] = sums, stored[name]
    return entry[1]


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes, (byte,), uint8."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


_FACTORS = torch.from_numpy(np.random.default_rng(0).integers(-(2**62), 2**62, 256) * 2 + 1)


def _sums(tensor: torch.Tensor) -> bytes:
    """Return a checksum of a tensor's bits that changes with any change that is not made to preserve it.

    The tensor's words are summed exactly in rows of 256, each word with a factor that depends on its position in the
    row.
    """
    content = _bytes(tensor)
    words: torch.Tensor = content
    for kind in (torch.int64, torch.int32, torch.int16):
        if not (content.numel() % kind.itemsize or content.storage_offset() % kind.itemsize):
            words = content.view(kind)
            break
    whole = words.numel() // 256 * 256
    # The factors are odd and depend on the position: swapping two words changes the sum, and no bit is lost when
    # products wrap.
    rows = (words[:whole].view(-1, 256) * _FACTORS.to(words.device)).sum(1, dtype=torch.int64)
    digest = hashlib.sha256(rows.cpu().numpy().data)
    digest.update(words[whole:].cpu().numpy().data)
    return digest.digest()


# Digests of other processes -------------------------------------------------------------------------------------------


def read_from(module: nn.Module, folder: Path) -> None:
    """Record the files that a module was just read from, so that other processes need not digest its weights again.

    Args:
        module: The module as it was loaded.
        folder: Folder of its weights, safetensors files.
    """
    facts = [(path.name, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    if sum(fact.st_size for _, fact in facts) >= _LARGE:
        files = [(name, fact.st_size, fact.st_mtime_ns, fact.st_ino, fact.st_dev) for name, fact in facts]
        module._read_from = key_of(files=files)  # type: ignore[assignment]


def _stored_digests(part: Any) -> dict[str, str]:
    """Return the stored digests of a module's tensors, by checksums and precision.

    The same file and the same checksums mean the same weights. Weights that were changed in memory have other
    checksums.
    """
    path = _digest_file(part)
    if path is None or not path.is_file():
        return {}
    try:
        data = read_json(path, "digests of weights")
        digests = data["digests"]
        return dict(digests) if data["check"] == key_of(digests=digests) else {}
    except (FaircutError, KeyError, TypeError, ValueError):
        return {}


def _store_digests(part: Any, digests: Mapping[str, str]) -> None:
    """Store digests for other processes. If that fails, they will be computed again."""
    path = _digest_file(part)
    if path is None:
        return
    with contextlib.suppress(OSError, FaircutError):
        private_folder(path.parent)
        remove(path)  # A damaged file has no valid marker, and write_json would not replace it.
        write_json(path, {"digests": dict(digests), "check": key_of(digests=digests)})
        path.chmod(0o600)
        for old in sorted(path.parent.glob("*.json"), key=lambda path: -path.stat().st_mtime)[_MAX_STORED:]:
            old.unlink()


def _digest_file(part: Any) -> Path | None:
    """Return the file of a part's stored digests, or None if it has none."""
    try:
        folder = cache_folder() if hasattr(part, "_read_from") else None
    except FaircutError:
        return None
    return None if folder is None else folder.parent / "digests" / f"{part._read_from}.json"


# Models ---------------------------------------------------------------------------------------------------------------


def fingerprint(*parts: Any, precision: bool = True) -> str:
    """Identify a model by everything in it that influences results.

    For a module this is every byte of its weights, its configuration, and everything that was switched on or changed
    since loading: active adapters with their scales, and settings such as FreeU. Disabled adapters do not count, and
    fused ones count as part of the weights. For a scheduler it is the configuration, for a tokenizer its words and
    rules. The device does not count.

    Args:
        parts: Modules, schedulers, tokenizers and mappings of settings, e.g. the UNet, the VAE and the text encoder.
        precision: Whether the same weights in another dtype count as another model. If False, weights count in half
            precision and changes since loading do not count, so that the same files give the same result whatever the
            versions of the libraries.

    Returns:
        32 hexadecimal digits. Identifying an unchanged model again takes about a tenth of the time. For a large model
        that holds in other processes as well, if `read_from` was called for its parts.
    """
    facts_of_parts = [_describe(part, precision) for part in parts]
    for part, facts in zip(parts, facts_of_parts, strict=True):
        stored = _stored_digests(part)
        before = len(stored)
        tensors = {name: fact for name, fact in facts.items() if isinstance(fact, torch.Tensor)}
        # Threads help because hashlib releases the interpreter lock.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(
                lambda t: "" if t.is_meta else _content(t, precision, stored),  # noqa: B023
                tensors.values(),
            )
        for (name, tensor), digest in zip(tensors.items(), digests, strict=True):
            facts[name] = f"{tuple(tensor.shape)} {tensor.dtype if precision else ''} {digest}"
        if len(stored) > before:
            _store_digests(part, stored)
    return key_of(parts=facts_of_parts)


def _describe(part: Any, precision: bool) -> dict[str, Any]:
    """Return everything that identifies a part, by name. Weights are returned as tensors."""
    if isinstance(part, Mapping):
        return {f"setting {name}": value for name, value in part.items()}
    facts: dict[str, Any] = {}
    if hasattr(part, "get_vocab"):
        facts |= _tokenizer_facts(part, precision)
    else:
        facts["class"] = type(part).__name__
        facts["config"] = _config_facts(part)
    if isinstance(part, nn.Module):
        facts |= _module_facts(part, precision)
    return facts


def _config_facts(part: Any) -> dict[str, Any]:
    """Return a part's configuration without default values, so that settings added by later versions change nothing."""
    config = getattr(part, "config", None)
    if config is None:
        return {}
    if hasattr(config, "to_diff_dict"):
        return {name: value for name, value in config.to_diff_dict().items() if not _is_note(name)}
    defaults = inspect.signature(type(part).__init__).parameters
    return {
        name: value
        for name, value in dict(config).items()
        if not _is_note(name) and not (name in defaults and _same(value, defaults[name].default))
    }


def _is_note(name: str) -> bool:
    return name.startswith("_") or name in _NOTES


def _same(a: Any, b: Any) -> bool:
    as_list = [list(x) if isinstance(x, tuple) else x for x in (a, b)]
    return type(as_list[0]) is type(as_list[1]) and bool(as_list[0] == as_list[1])


def _tokenizer_facts(tokenizer: Any, precision: bool) -> dict[str, Any]:
    """Return the words, rules, special tokens and maximum length of a tokenizer."""
    facts = {
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "length": tokenizer.model_max_length,
    }
    rules = getattr(tokenizer, "backend_tokenizer", None)
    if precision and rules is not None:
        # The text begins with the truncation and padding of the last call, which are not properties of the tokenizer.
        return {**facts, "rules": _LAST_CALL.sub("", rules.to_str(), count=2)}
    return {
        **facts,
        "words": "\n".join(f"{position} {word}" for word, position in sorted(tokenizer.get_vocab().items())),
    }


def _module_facts(module: nn.Module, precision: bool) -> dict[str, Any]:
    """Return the weights, settings and adapters of a module, by the names that they have without adapters."""
    facts: dict[str, Any] = {}
    tuners = {name: part for name, part in module.named_modules() if all(hasattr(part, x) for x in _TUNER)}
    for name, part in module.named_modules():
        plain = _plain_name(name, tuners)
        if plain is None:
            continue
        if name in tuners:
            facts |= {f"adapter {plain}": fact for fact in [_adapter_facts(part)] if fact}
            continue
        tensors = dict(part.named_parameters(recurse=False))
        if precision:
            tensors |= dict(part.named_buffers(recurse=False))
            facts[f"switches {plain}"] = repr(sorted((k, v) for k, v in vars(part).items() if _is_active_setting(k, v)))
        for tensor_name, tensor in tensors.items():
            full_name = _plain_name(f"{name}.{tensor_name}".lstrip("."), tuners)
            if full_name is not None:
                facts[f"tensor {full_name}"] = _offloaded(part, tensor_name) if tensor.is_meta else tensor
    return facts


def _is_active_setting(name: str, value: Any) -> bool:
    """Return whether an attribute of a module is a setting that has a value."""
    return name[0] != "_" and name not in _IDLE and value is not None and value != {} and _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (bool, int, float, str, type(None))):
        return True
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    return isinstance(value, (list, tuple)) and all(map(_is_plain, value))


def _active_adapters(tuner: Any) -> list[str]:
    """Return the names of a layer's active, unfused adapters, in order."""
    if tuner.disable_adapters or tuner.merged:
        return []
    return [name for name in tuner.active_adapters if name in tuner.scaling]


def _adapter_facts(tuner: Any) -> list[dict[str, Any]]:
    """Return the scale of every active adapter of a layer, in order."""
    kinds = ("scaling", "use_dora")
    return [
        {kind: getattr(tuner, kind)[name] for kind in kinds if name in getattr(tuner, kind, {})}
        for name in _active_adapters(tuner)
    ]


def _plain_name(name: str, tuners: Mapping[str, Any]) -> str | None:
    """Return the name that a part of a module has without adapters, or None for a part of an inactive adapter.

    In the name of an active adapter's part, the adapter is replaced by its index among the active ones.
    """
    words = name.split(".")
    depth = next((n for n in range(1, len(words)) if ".".join(words[:n]) in tuners), len(words))
    layer, rest = words[:depth], words[depth:]
    if not rest or rest[0] == "base_layer":
        return ".".join(layer + rest[1:])
    active = _active_adapters(tuners[".".join(layer)])
    return (
        ".".join(layer + [f"#{active.index(w)}" if w in active else w for w in rest]) if {*active} & {*rest} else None
    )


def _offloaded(module: nn.Module, name: str) -> Any:
    """Return a weight that accelerate has moved away from its module."""
    hook = getattr(module, "_hf_hook", None)
    for part in getattr(hook, "hooks", [hook]):
        weights = getattr(part, "weights_map", None)
        if weights is not None:
            return weights[name]
    return getattr(module, name)


# Software
# ----------------------------------------------------------------------------------------------------------------


@functools.cache
def software() -> Mapping[str, str]:
    """Return the versions of the libraries that compute. Other versions may round or behave differently."""
    versions = {"faircut": __version__}
    for name in ("torch", "diffusers", "transformers"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
