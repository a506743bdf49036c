"""What decides a result, and one name for it: models identified by all that acts in them, and the key of an edit."""

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

_LARGE = 256 << 20  # bytes of weights from which on digests are kept for other processes
_MOST_KEPT = 64  # modules whose digests are kept
_DIGITS = 16  # bytes of a name, twice as many hexadecimal digits
# What a configuration says of its file or of how it was written, rather than of the model.
_NOTES = {"architectures", "dtype", "name_or_path", "torch_dtype", "transformers_version"}
# Attributes of modules that change nothing in what a model computes when it edits.
_IDLE = {"frames", "gradient_checkpointing", "name_or_path", "training", "use_slicing"}
_LAST_CALL = re.compile(r'"(?:truncation|padding)":(?:null|\{(?:[^{}]|\{[^{}]*\})*\}),?')
_TUNER = ("base_layer", "active_adapters", "disable_adapters", "scaling")


# Values ---------------------------------------------------------------------------------------------------------------


def key_of(**facts: Any) -> str:
    """Name a result by all that decides it, whatever the order, the process or the folder.

    Args:
        facts: by name: numbers, texts, None, tensors and arrays (by content), paths, dataclasses with all their fields,
            and mappings, sequences and sets of these. Numbers that are equal are the same, whatever their type.

    Returns:
        32 hexadecimal digits.

    Raises:
        TypeError: a value of another type, whose content nothing here knows.
    """
    digest = hashlib.blake2b(digest_size=_DIGITS)
    for piece in _pieces(facts):
        # Each with its length, so that no two lists of pieces give the same bytes.
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    """Write a value as bytes, the same for the same content."""
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
        # Not config.to_dict: what is not written to a file, such as masks, decides as much.
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
        raise TypeError(f"{type(value).__name__} {value!r} cannot be part of a key: nothing knows its content")


# Tensors --------------------------------------------------------------------------------------------------------------

# By tensor and precision: the sums that its content had, and the digest that belongs to them.
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _content(tensor: torch.Tensor, precision: bool = True, kept: dict[str, str] | None = None) -> str:
    """Return a digest of every byte of a tensor; those in ``kept``, by their sums, are not made again.

    A tensor that was digested before and is unchanged costs a pass of additions, some ten times less than the digest.
    What tells whether it is unchanged is its content: torch's version counter misses what is done through
    ``parameter.data``, as peft does when it fuses adapters.
    """
    sums = _sums(tensor)
    known = _known.setdefault(tensor, {})
    found = known.get(precision)
    if found is None or found[0] != sums:
        name, kept = f"{sums.hex()} {precision}", {} if kept is None else kept
        if name not in kept:
            values = tensor.detach()
            if not precision and values.is_floating_point():
                values = values.half()
            # SHA-256 rather than BLAKE2: processors compute it, at twice the speed.
            kept[name] = hashlib.sha256(_bytes(values).cpu().numpy().data).hexdigest()
        found = known[precision] = sums, kept[name]
    return found[1]


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes, (byte,) uint8."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


_FACTORS = torch.from_numpy(np.random.default_rng(0).integers(-(2**62), 2**62, 256) * 2 + 1)


def _sums(tensor: torch.Tensor) -> bytes:
    """Return exact sums of a tensor's bits, in rows of 256 words: others after any change that is not made to keep
    them.

    A word counts with a factor of its place in the row.
    """
    content = _bytes(tensor)
    words: torch.Tensor = content
    for kind in (torch.int64, torch.int32, torch.int16):
        if not (content.numel() % kind.itemsize or content.storage_offset() % kind.itemsize):
            words = content.view(kind)
            break
    whole = words.numel() // 256 * 256
    # Odd factors by place, so that words that change places change the sum; products wrap, which loses nothing.
    rows = (words[:whole].view(-1, 256) * _FACTORS.to(words.device)).sum(1, dtype=torch.int64)
    digest = hashlib.sha256(rows.cpu().numpy().data)
    digest.update(words[whole:].cpu().numpy().data)
    return digest.digest()


# Digests of other processes -------------------------------------------------------------------------------------------


def read_from(module: nn.Module, folder: Path) -> None:
    """Note which files a module was just read from, so that other processes need not digest its weights again.

    Args:
        module: as it was loaded.
        folder: that its weights, safetensors, are in.
    """
    facts = [(path.name, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    if sum(fact.st_size for _, fact in facts) >= _LARGE:
        files = [(name, fact.st_size, fact.st_mtime_ns, fact.st_ino, fact.st_dev) for name, fact in facts]
        module._read_from = key_of(files=files)  # type: ignore[assignment]


def _kept(part: Any) -> dict[str, str]:
    """Return the digests that were kept of the files that a module was read from: by precision and sums of the tensor.

    The same file and the same sums are the same weights. What was changed in memory since has other sums.
    """
    place = _kept_in(part)
    if place is None or not place.is_file():
        return {}
    try:
        data = read_json(place, "digests of weights")
        digests = data["digests"]
        return dict(digests) if data["check"] == key_of(digests=digests) else {}
    except (FaircutError, KeyError, TypeError, ValueError):
        return {}


def _keep(part: Any, digests: Mapping[str, str]) -> None:
    """Keep digests for other processes; where that cannot be, they are made again."""
    place = _kept_in(part)
    if place is None:
        return
    with contextlib.suppress(OSError, FaircutError):
        private_folder(place.parent)
        remove(place)  # One that is damaged is no longer known to be ours.
        write_json(place, {"digests": dict(digests), "check": key_of(digests=digests)})
        place.chmod(0o600)
        for old in sorted(place.parent.glob("*.json"), key=lambda path: -path.stat().st_mtime)[_MOST_KEPT:]:
            old.unlink()


def _kept_in(part: Any) -> Path | None:
    try:
        folder = cache_folder() if hasattr(part, "_read_from") else None
    except FaircutError:
        return None
    return None if folder is None else folder.parent / "digests" / f"{part._read_from}.json"


# Models ---------------------------------------------------------------------------------------------------------------


def fingerprint(*parts: Any, precision: bool = True) -> str:
    """Identify a model by all that acts in it.

    Of a module that is every byte of its weights, its configuration, and what was switched on or changed since:
    adapters that are active, with their scales, and such things as FreeU. Adapters that are disabled do not count, and
    fused ones count as the weights that they are now part of. Of a scheduler it is the configuration, of a tokenizer
    its words and rules. Where a model runs is not part of it.

    Args:
        parts: modules, schedulers, tokenizers, and mappings of settings, e.g. the UNet, the VAE and the text encoder.
        precision: whether the same weights in another dtype are another model. Without, weights count as far as half
            precision holds them, and what was switched on since loading does not count: the same for the same files,
            whatever the versions of the libraries.

    Returns:
        32 hexadecimal digits. A model that was identified before and is unchanged takes about a tenth of the time; a
        large one also in another process, if its parts were noted by `read_from`.
    """
    described = [_describe(part, precision) for part in parts]
    for part, facts in zip(parts, described, strict=True):
        kept = _kept(part)
        before = len(kept)
        tensors = {name: fact for name, fact in facts.items() if isinstance(fact, torch.Tensor)}
        # hashlib lets go of the interpreter.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(lambda t: "" if t.is_meta else _content(t, precision, kept), tensors.values())  # noqa: B023
        for (name, tensor), digest in zip(tensors.items(), digests, strict=True):
            facts[name] = f"{tuple(tensor.shape)} {tensor.dtype if precision else ''} {digest}"
        if len(kept) > before:
            _keep(part, kept)
    return key_of(parts=described)


def _describe(part: Any, precision: bool) -> dict[str, Any]:
    """Return what identifies a part, by name; weights as tensors."""
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
    """Return a part's configuration, but for what is as by default: a setting that a later version adds is no
    change."""
    config = getattr(part, "config", None)
    if config is None:
        return {}
    if hasattr(config, "to_diff_dict"):
        return {name: value for name, value in config.to_diff_dict().items() if not _is_note(name)}
    usual = inspect.signature(type(part).__init__).parameters
    return {
        name: value
        for name, value in dict(config).items()
        if not _is_note(name) and not (name in usual and _same(value, usual[name].default))
    }


def _is_note(name: str) -> bool:
    return name.startswith("_") or name in _NOTES


def _same(a: Any, b: Any) -> bool:
    as_list = [list(x) if isinstance(x, tuple) else x for x in (a, b)]
    return type(as_list[0]) is type(as_list[1]) and bool(as_list[0] == as_list[1])


def _tokenizer_facts(tokenizer: Any, precision: bool) -> dict[str, Any]:
    """Return the words, rules and special tokens of a tokenizer."""
    facts = {
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "length": tokenizer.model_max_length,
    }
    rules = getattr(tokenizer, "backend_tokenizer", None)
    if precision and rules is not None:
        # The last call's truncation and padding come first in it, and are no property of the tokenizer.
        return {**facts, "rules": _LAST_CALL.sub("", rules.to_str(), count=2)}
    return {**facts, "words": "\n".join(f"{place} {word}" for word, place in sorted(tokenizer.get_vocab().items()))}


def _module_facts(module: nn.Module, precision: bool) -> dict[str, Any]:
    """Return weights, switches and adapters of a module, each under the name that it has without adapters."""
    facts: dict[str, Any] = {}
    tuners = {name: part for name, part in module.named_modules() if all(hasattr(part, x) for x in _TUNER)}
    for name, part in module.named_modules():
        plain = _plain_name(name, tuners)
        if plain is None:
            continue
        if name in tuners:
            facts |= {f"adapter {plain}": fact for fact in [_adapter_facts(part)] if fact}
            continue
        own = dict(part.named_parameters(recurse=False))
        if precision:
            own |= dict(part.named_buffers(recurse=False))
            facts[f"switches {plain}"] = repr(sorted((k, v) for k, v in vars(part).items() if _acts(k, v)))
        for tensor_name, tensor in own.items():
            whole = _plain_name(f"{name}.{tensor_name}".lstrip("."), tuners)
            if whole is not None:
                facts[f"tensor {whole}"] = _offloaded(part, tensor_name) if tensor.is_meta else tensor
    return facts


def _acts(name: str, value: Any) -> bool:
    """Whether an attribute of a module is a setting that is set."""
    return name[0] != "_" and name not in _IDLE and value is not None and value != {} and _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (bool, int, float, str, type(None))):
        return True
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    return isinstance(value, (list, tuple)) and all(map(_is_plain, value))


def _acting(tuner: Any) -> list[str]:
    """Names of the adapters of a layer that act beside its weights, in order."""
    if tuner.disable_adapters or tuner.merged:
        return []
    return [name for name in tuner.active_adapters if name in tuner.scaling]


def _adapter_facts(tuner: Any) -> list[dict[str, Any]]:
    """Return the scale of every acting adapter of a layer, in order."""
    kinds = ("scaling", "use_dora")
    return [
        {kind: getattr(tuner, kind)[name] for kind in kinds if name in getattr(tuner, kind, {})}
        for name in _acting(tuner)
    ]


def _plain_name(name: str, tuners: Mapping[str, Any]) -> str | None:
    """Return a name in a module as it is without adapters; an adapter's has its place among those that act. None:
    idle."""
    words = name.split(".")
    at = next((n for n in range(1, len(words)) if ".".join(words[:n]) in tuners), len(words))
    layer, rest = words[:at], words[at:]
    if not rest or rest[0] == "base_layer":
        return ".".join(layer + rest[1:])
    acting = _acting(tuners[".".join(layer)])
    return (
        ".".join(layer + [f"#{acting.index(w)}" if w in acting else w for w in rest]) if {*acting} & {*rest} else None
    )


def _offloaded(module: nn.Module, name: str) -> Any:
    """Find a weight that accelerate keeps elsewhere while it is not needed."""
    hook = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", [hook]):
        weights = getattr(one, "weights_map", None)
        if weights is not None:
            return weights[name]
    return getattr(module, name)


# Software -------------------------------------------------------------------------------------------------------------


@functools.cache
def software() -> Mapping[str, str]:
    """Return the versions of what computes: other ones may round, or behave, otherwise."""
    found = {"faircut": __version__}
    for name in ("torch", "diffusers", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
