"""Finding checkpoints, and checking them before they are loaded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from faircut.errors import ModelError

__all__ = [
    "PARTS",
    "PICKLES",
    "POCKET",
    "check_folder",
    "check_hub_name",
    "check_numbers",
    "check_tokenizer",
    "check_weights",
    "first_line",
    "load_tokenizer",
    "locate",
    "pocket_folder",
    "read_json",
    "weight_files",
]

POCKET = "pocket"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
"""Suffixes of pickle files. Pickles can run code when they are read, so faircut never reads them."""

_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_IGNORED = ("safety_checker", "feature_extractor", "image_encoder")
_GIVE = "give 'pocket', a folder with model_index.json, or a name on the hub"
_MAX_JSON_BYTES = 64 * 2**20
_MAX_NUMBER, _MAX_LAYERS, _MAX_ITEMS = 2**20, 1000, 10_000
_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32,
    "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def pocket_folder() -> Path:
    """Return the folder of the pocket model's weights."""
    return Path(__file__).parents[1] / "pocket" / "weights"


def locate(model: str | Path) -> Path | None:
    """Find a checkpoint on this computer.

    Args:
        model: ``"pocket"``, a folder in diffusers' layout, or a name on the hub.

    Returns:
        The checkpoint's folder, or None for a name on the hub.

    Raises:
        ModelError: If the folder does not exist or is not a Stable Diffusion checkpoint, or if the name is not a valid
            name on the hub either.
    """
    if str(model) == POCKET:
        check_folder(pocket_folder())
        return pocket_folder()
    path = _path(model, _GIVE)
    if os.path.lexists(path) or str(model).startswith((".", "/", "~")):
        check_folder(path)
        return path
    check_hub_name(str(model), _GIVE)
    return None


def _path(name: str | Path, give: str) -> Path:
    """Convert a name to a path, which need not exist.

    Raises:
        ModelError: If the name is empty or not a valid path.
    """
    text = str(name)
    if not text.strip():
        raise ModelError(f"the name of the model is empty; {give}")
    if not text.isprintable():
        raise ModelError(f"{text!r} contains characters that a model's name cannot have; {give}")
    try:
        path = Path(text).expanduser()
        os.path.lexists(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{text[:200]!r} is not a valid path ({error}); {give}") from None
    return path


def check_hub_name(name: str, give: str) -> None:
    """Check that a name is valid on the hub and, in offline mode, that the hub's cache contains the model.

    Args:
        name: Name on the hub.
        give: What to give instead, for the error message.

    Raises:
        ModelError: If the name is not valid, or cannot be fetched offline.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError:
        raise ModelError(f"{name[:200]!r} does not exist here and is not a valid name on the hub; {give}") from None
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")
    if offline and not Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model")).is_dir():
        raise ModelError(
            f"{name!r} is neither here nor in the hub's cache, and HF_HUB_OFFLINE is set, so it cannot be fetched; "
            f"{give}"
        )


def judge_folder(model: str | Path) -> Path | None:
    """Return the folder of the judge that comes with a pocket model, or None for other models.

    Raises:
        ModelError: If the folder does not exist or is not a Stable Diffusion checkpoint.
    """
    folder = locate(model)
    return folder / "judge" if folder is not None and (folder / "judge").is_dir() else None


def load_tokenizer(model: str | Path = POCKET) -> Any:
    """Load only the tokenizer of a checkpoint, which is much faster than loading the whole checkpoint.

    Args:
        model: Checkpoint, as `VideoEditor.from_pretrained` takes it.

    Returns:
        A fast ``CLIPTokenizer``.

    Raises:
        ModelError: If there is no Stable Diffusion checkpoint, or its tokenizer is incomplete.
    """
    folder = locate(model)
    from transformers import CLIPTokenizer

    where = str(model) if folder is None else str(folder / "tokenizer")
    try:
        if folder is not None:
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        else:
            tokenizer = CLIPTokenizer.from_pretrained(str(model), subfolder="tokenizer")
    except Exception as error:
        # The libraries raise many types here: missing files, wrong formats, network errors.
        raise ModelError(f"cannot load the tokenizer of {where!r}: {first_line(error)}; {_GIVE}") from error
    check_tokenizer(tokenizer, where)
    return tokenizer


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Check that a tokenizer is complete. transformers replaces missing files by a tokenizer without words.

    Args:
        tokenizer: A tokenizer of transformers.
        where: Source of the tokenizer, for the error message.

    Raises:
        ModelError: If the tokenizer has no words, no maximum length or no start or end token.
    """
    if len(tokenizer) <= len(tokenizer.all_special_tokens) + 1:
        raise ModelError(
            f"the tokenizer of {where!r} knows no words: its vocab.json or tokenizer.json is missing, empty or, "
            f"offline, not in the hub's cache; {_GIVE}"
        )
    length = tokenizer.model_max_length
    if not isinstance(length, int) or isinstance(length, bool) or not 3 <= length <= _MAX_NUMBER:
        raise ModelError(
            f"tokenizer_config.json of {where!r} has no usable model_max_length; set it to the number of tokens that "
            "the text encoder takes, such as 77"
        )
    for name in ("bos_token", "eos_token"):
        if getattr(tokenizer, name) is None:
            raise ModelError(f"the tokenizer of {where!r} has no {name}; download the checkpoint again")


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its class name, cut to 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[0] if lines else type(error).__name__).split())[:300]


# Folders --------------------------------------------------------------------------------------------------------------


def check_folder(path: Path, *, published: bool = False) -> None:
    """Check that a folder contains a Stable Diffusion checkpoint in diffusers' layout, without loading the weights.

    Args:
        path: Path of the folder.
        published: Whether the folder is a checkpoint of another project that is to be converted. Its UNet and weights
            are then not checked.

    Raises:
        ModelError: If the folder is not such a checkpoint. The message names the file and what is missing or wrong.
    """
    path = path.expanduser()
    if path == pocket_folder() and not (path / "model_index.json").is_file():
        raise ModelError(
            "the pocket model's weights are not in this installation; give --model a Stable Diffusion folder or a "
            "name on the hub, or install faircut again"
        )
    name = repr(str(path)) if not str(path).isprintable() else str(path)
    try:
        exists = path.exists()
        content = ", ".join(sorted(p.name for p in path.iterdir())[:6]) if path.is_dir() else "a file"
    except OSError as error:
        raise ModelError(f"{name} cannot be read ({error.strerror or error}); {_GIVE}") from None
    if not exists:
        raise ModelError(f"{name} does not exist; {_GIVE}")
    if path.suffix.lower() in (*PICKLES, ".safetensors") and path.is_file():
        raise ModelError(
            f"{name} is a single file of weights; give the folder of a checkpoint in diffusers' layout (convert the "
            "file with diffusers' StableDiffusionPipeline.from_single_file(...).save_pretrained(...))"
        )
    index = path / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{name} is not a Stable Diffusion folder: it has no model_index.json (it contains "
            f"{content or 'nothing'}); give the folder that contains unet, vae, text_encoder, tokenizer and scheduler"
        )
    parts = read_json(index)
    missing = [part for part in PARTS if part not in parts]
    missing += [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise ModelError(
            f"{name} is not a Stable Diffusion 1.x or 2.x folder: {', '.join(dict.fromkeys(missing))} missing; give "
            "one that contains unet, vae, text_encoder, tokenizer and scheduler"
        )
    _check_classes(index, parts, published)
    for file in (*(path / part / "config.json" for part in _WEIGHTS), path / "scheduler" / "scheduler_config.json"):
        check_numbers(file, read_json(file))
    _check_tokenizer_files(path / "tokenizer")
    for part, stem in ({} if published else _WEIGHTS).items():
        # Any variant is accepted here, because the requested one is not known yet.
        for file in sorted((path / part).glob(f"{stem}.*.safetensors")) or weight_files(path / part, stem):
            check_weights(file)


def _check_classes(index: Path, parts: Mapping[str, Any], published: bool) -> None:
    """Check that an index names the classes of Stable Diffusion, and no custom code.

    Raises:
        ModelError: If the index names other classes or custom code.
    """
    if not isinstance(parts.get("_class_name", ""), str):
        raise ModelError(
            f"{index} names a pipeline with custom code ({parts['_class_name']!r}), which faircut never runs; give a "
            "Stable Diffusion 1.x or 2.x checkpoint"
        )
    for part, entry in parts.items():
        if not isinstance(entry, list) or part.startswith("_") or entry[:1] == [None] or part in _IGNORED:
            if part in PARTS:
                raise ModelError(f"{index} says {entry!r} of its {part}; it must be a library and a class in a list")
            continue
        if part not in PARTS:
            raise ModelError(
                f"{index} has a part {part!r}, so it is a different kind of model; give a Stable Diffusion 1.x or 2.x "
                "checkpoint"
            )
        if len(entry) != 2 or not all(isinstance(word, str) for word in entry):
            raise ModelError(f"{index} says {entry!r} of its {part}; it must be a library and a class in a list")
        library = "transformers" if part in ("text_encoder", "tokenizer") else "diffusers"
        expected = _CLASSES.get(part, (entry[1],))
        if (entry[0] != library or entry[1] not in expected) and not (published and part == "unet"):
            raise ModelError(
                f"{index} names {'.'.join(entry)} as its {part}; Stable Diffusion 1.x and 2.x use {expected[0]} of "
                f"{library}, and faircut never runs a checkpoint's custom code"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping from a JSON file of a checkpoint.

    Raises:
        ModelError: If the file cannot be read or does not contain a mapping.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ValueError(f"it is larger than the limit of {_MAX_JSON_BYTES // 2**20} MiB")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; download the checkpoint again") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ModelError(f"{path} cannot be read ({reason}); download the checkpoint again") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path} does not contain a mapping of names to values; download the checkpoint again")
    return data


def check_numbers(path: Path, data: Mapping[str, Any]) -> None:
    """Check that all numbers of a configuration are plausible for a model. Larger ones could build layers for hours.

    Raises:
        ModelError: If a number or a list is too large.
    """

    def check(name: str, value: Any, depth: int = 0) -> None:
        if isinstance(value, dict) and depth < 20:
            for key, item in value.items():
                check(str(key), item, depth + 1)
        elif isinstance(value, list) and depth < 20 and len(value) <= _MAX_ITEMS:
            for item in value:
                check(name, item, depth + 1)
        elif isinstance(value, (list, dict)):
            raise ModelError(
                f"{path} has a list in {name!r} that is too long or too deep for a model; download it again"
            )
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            highest = _MAX_LAYERS if "layers" in name else _MAX_NUMBER
            lowest = 1 if "layers" in name else 2 if name == "num_train_timesteps" else -_MAX_NUMBER
            if not math.isfinite(value) or (isinstance(value, int) and not lowest <= value <= highest):
                raise ModelError(f"{path} gives {value!r:.40} for {name!r}, which is out of range; download it again")

    for name, value in data.items():
        check(name, value)


def _check_tokenizer_files(folder: Path) -> None:
    """Check that the files of a tokenizer exist and are readable.

    Raises:
        ModelError: If a file is missing or is not valid JSON.
    """
    config = read_json(folder / "tokenizer_config.json")
    if "model_max_length" not in config:
        raise ModelError(
            f"{folder / 'tokenizer_config.json'} lacks model_max_length; set it to the number of tokens that the text "
            "encoder takes, such as 77"
        )
    whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if whole.is_file():
        read_json(whole)
    elif vocabulary.is_file() and merges.is_file():
        read_json(vocabulary)
    else:
        missing = vocabulary if not vocabulary.is_file() else merges
        raise ModelError(f"{missing} is missing, and so is tokenizer.json; download the checkpoint again")


def weight_files(folder: Path, stem: str, variant: str | None = None) -> list[Path]:
    """Return the files of a part's weights.

    Args:
        folder: Folder of the part.
        stem: File name without suffix.
        variant: Variant in diffusers' naming, such as ``"fp16"``, or None.

    Raises:
        ModelError: If there are no weights, or only pickles.
    """
    stems = [f"{stem}.{variant}", stem] if variant else [stem]
    for name in stems:
        if (folder / f"{name}.safetensors").is_file():
            return [folder / f"{name}.safetensors"]
    for index in ([f"{stem}.safetensors.index.{variant}.json"] if variant else []) + [f"{stem}.safetensors.index.json"]:
        if (folder / index).is_file():
            return _shards(folder / index)
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", *PICKLES))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror or error}); {_GIVE}") from None
    expected = folder / f"{stem}.safetensors"
    if any(name.endswith(".safetensors") for name in names):
        raise ModelError(
            f"{expected} does not exist, only {', '.join(names[:4])}; rename the right one, or load it with variant="
        )
    if names:
        raise ModelError(
            f"{folder} has weights only as {names[0]}, a pickle, which can run code, so faircut never reads it; save "
            "the model as safetensors with diffusers: save_pretrained(..., safe_serialization=True)"
        )
    raise ModelError(f"{expected} is missing, so there are no weights; download the checkpoint again")


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of shards names, which are in the same folder."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} does not name any weight files; download the checkpoint again")
    files = []
    for name in sorted(set(names.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index} names {name!r}, which is not a safetensors file in the same folder; download it again"
            )
        if not (index.parent / name).is_file():
            raise ModelError(f"{index.parent / name} is missing; download the checkpoint again")
        files.append(index.parent / name)
    return files


def check_weights(path: Path) -> dict[str, tuple[int, ...]]:
    """Check by its header that a safetensors file is complete.

    Args:
        path: Path of the file.

    Returns:
        The shapes of the tensors by name.

    Raises:
        ModelError: If the file is truncated, damaged or empty.
    """

    def broken(why: str) -> ModelError:
        return ModelError(f"{path} is not a complete safetensors file: {why}; download it again")

    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, 100 * 10**6):
                raise broken(f"it has {size} bytes, fewer than its header announces")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise broken("its header is not a mapping")
        header.pop("__metadata__", None)
        return _read_header(header, size - 8 - length, broken)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}); {_GIVE}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise broken(f"its header is not valid JSON ({first_line(error)})") from None


def _read_header(
    header: Mapping[str, Any], size: int, broken: Callable[[str], ModelError]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes in a header, after checking that the tensors fill the file without gaps."""
    if not header:
        raise broken("it contains no tensors")
    shapes, end = {}, 0
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        try:
            shape, (start, stop), bits = tuple(entry["shape"]), entry["data_offsets"], _DTYPE_BITS.get(entry["dtype"])
            bytes_ = None if bits is None else math.prod(shape) * bits // 8
            is_valid = all(type(n) is int and n >= 0 for n in (*shape, start, stop)) and bytes_ in (None, stop - start)
        except (TypeError, KeyError, ValueError, AttributeError):
            is_valid = False
        if not is_valid:
            raise broken(f"its entry for {name[:100]!r} contradicts itself")
        spans.append((start, stop))
        shapes[name] = shape
    for start, stop in sorted(spans):
        if start != end:
            raise broken("its tensors overlap or leave gaps")
        end = stop
    if end != size:
        raise broken(f"its tensors need {end} bytes, but it has {size}")
    return shapes
