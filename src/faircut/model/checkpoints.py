"""Where checkpoints are, what makes one, and what can be known to be wrong with one before it is loaded."""

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
"""Endings of files that are pickles, which run code when they are read; none is ever read."""

_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_IGNORED = ("safety_checker", "feature_extractor", "image_encoder")
_GIVE = "give 'pocket', a folder with model_index.json, or a name on the hub"
_MOST_JSON = 64 * 2**20
_MOST_NUMBER, _MOST_LAYERS, _MOST_ITEMS = 2**20, 1000, 10_000
_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32,
    "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def pocket_folder() -> Path:
    """Return where the pocket model's weights are."""
    return Path(__file__).parents[1] / "pocket" / "weights"


def locate(model: str | Path) -> Path | None:
    """Find a checkpoint on this computer.

    Args:
        model: ``"pocket"``, a folder in diffusers' layout, or a name on the hub.

    Returns:
        Its folder, or None for a name on the hub.

    Raises:
        ModelError: the folder does not exist or holds no Stable Diffusion checkpoint, or it is no name of the hub
            either.
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
    """Read a path, which need not exist.

    Raises:
        ModelError: it is empty, or no path at all.
    """
    text = str(name)
    if not text.strip():
        raise ModelError(f"an empty name was given for a model; {give}")
    if not text.isprintable():
        raise ModelError(f"{text!r} has characters in it that no name of a model has; {give}")
    try:
        path = Path(text).expanduser()
        os.path.lexists(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{text[:200]!r} is no path ({error}); {give}") from None
    return path


def check_hub_name(name: str, give: str) -> None:
    """Check that a name can be one on the hub, and, where nothing may be fetched, that it is in the hub's cache.

    Raises:
        ModelError: it cannot, or is not.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError:
        raise ModelError(f"there is no {name[:200]!r} here, and no name on the hub looks like that; {give}") from None
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")
    if offline and not Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model")).is_dir():
        raise ModelError(
            f"there is no {name!r} here, nor in the hub's cache, and HF_HUB_OFFLINE is set, so it cannot be fetched; "
            f"{give}"
        )


def judge_folder(model: str | Path) -> Path | None:
    """Find the judge that comes with a pocket model; None for other models.

    Raises:
        ModelError: the folder does not exist or holds no Stable Diffusion checkpoint.
    """
    folder = locate(model)
    return folder / "judge" if folder is not None and (folder / "judge").is_dir() else None


def load_tokenizer(model: str | Path = POCKET) -> Any:
    """Load only the tokenizer of a checkpoint, which takes a moment where the whole takes seconds or minutes.

    Args:
        model: as `VideoEditor.from_pretrained` takes it.

    Returns:
        A fast ``CLIPTokenizer``.

    Raises:
        ModelError: there is no Stable Diffusion checkpoint at that place, or its tokenizer lacks something.
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
        # Files, formats and every kind of network trouble end here.
        raise ModelError(f"cannot load the tokenizer of {where!r}: {first_line(error)}; {_GIVE}") from error
    check_tokenizer(tokenizer, where)
    return tokenizer


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Check that a tokenizer has what it needs: transformers answers missing files with a stub that knows no word.

    Args:
        tokenizer: of transformers.
        where: it is from, for the message.

    Raises:
        ModelError: it lacks something.
    """
    if len(tokenizer) <= len(tokenizer.all_special_tokens) + 1:
        raise ModelError(
            f"the tokenizer of {where!r} knows no words: its vocab.json or tokenizer.json is missing, empty or, "
            f"offline, not in the hub's cache; {_GIVE}"
        )
    length = tokenizer.model_max_length
    if not isinstance(length, int) or isinstance(length, bool) or not 3 <= length <= _MOST_NUMBER:
        raise ModelError(
            f"tokenizer_config.json of {where!r} says no usable model_max_length; put the number of tokens that the "
            "text encoder takes there, such as 77"
        )
    for name in ("bos_token", "eos_token"):
        if getattr(tokenizer, name) is None:
            raise ModelError(f"the tokenizer of {where!r} has no {name}; download the checkpoint again")


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name; never more than 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[0] if lines else type(error).__name__).split())[:300]


# Folders --------------------------------------------------------------------------------------------------------------


def check_folder(path: Path, *, published: bool = False) -> None:
    """Check that a folder holds a Stable Diffusion checkpoint in diffusers' layout, without loading any of it.

    Args:
        path: of the folder.
        published: whether it is another project's checkpoint that is to be converted: its UNet and its weights are not
            looked at.

    Raises:
        ModelError: it does not; says which file, and what is missing or wrong.
    """
    path = path.expanduser()
    if path == pocket_folder() and not (path / "model_index.json").is_file():
        raise ModelError(
            "the pocket model's weights are not in this installation; give --model a Stable Diffusion folder or a name "
            "on the hub, or install faircut again"
        )
    shown = repr(str(path)) if not str(path).isprintable() else str(path)
    try:
        there = path.exists()
        found = ", ".join(sorted(p.name for p in path.iterdir())[:6]) if path.is_dir() else "a file"
    except OSError as error:
        raise ModelError(f"{shown} cannot be read ({error.strerror or error}); {_GIVE}") from None
    if not there:
        raise ModelError(f"there is no {shown}; {_GIVE}")
    if path.suffix.lower() in (*PICKLES, ".safetensors") and path.is_file():
        raise ModelError(
            f"{shown} is a single file of weights; give the folder of a checkpoint in diffusers' layout (diffusers' "
            "StableDiffusionPipeline.from_single_file(...).save_pretrained(...) makes one)"
        )
    index = path / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{shown} is no Stable Diffusion folder: it has no model_index.json (it holds {found or 'nothing'}); give "
            "the folder that has unet, vae, text_encoder, tokenizer and scheduler in it"
        )
    parts = read_json(index)
    missing = [part for part in PARTS if part not in parts]
    missing += [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise ModelError(
            f"{shown} is no Stable Diffusion 1.x or 2.x folder: {', '.join(dict.fromkeys(missing))} missing; give one "
            "that has unet, vae, text_encoder, tokenizer and scheduler"
        )
    _check_classes(index, parts, published)
    for file in (*(path / part / "config.json" for part in _WEIGHTS), path / "scheduler" / "scheduler_config.json"):
        check_numbers(file, read_json(file))
    _check_tokenizer_files(path / "tokenizer")
    for part, stem in ({} if published else _WEIGHTS).items():
        # A variant is as good until somebody asks for another one.
        for file in sorted((path / part).glob(f"{stem}.*.safetensors")) or weight_files(path / part, stem):
            check_weights(file)


def _check_classes(index: Path, parts: Mapping[str, Any], published: bool) -> None:
    """Check that an index names the classes of Stable Diffusion, and no code of its own.

    Raises:
        ModelError: it names others.
    """
    if not isinstance(parts.get("_class_name", ""), str):
        raise ModelError(
            f"{index} names a pipeline with code of its own ({parts['_class_name']!r}), which is never run; give a "
            "Stable Diffusion 1.x or 2.x checkpoint"
        )
    for part, entry in parts.items():
        if not isinstance(entry, list) or part.startswith("_") or entry[:1] == [None] or part in _IGNORED:
            if part in PARTS:
                raise ModelError(f"{index} says {entry!r} of its {part}; it must be a library and a class in a list")
            continue
        if part not in PARTS:
            raise ModelError(
                f"{index} has a part {part!r}, so it is another kind of model; give a Stable Diffusion 1.x or 2.x "
                "checkpoint"
            )
        if len(entry) != 2 or not all(isinstance(word, str) for word in entry):
            raise ModelError(f"{index} says {entry!r} of its {part}; it must be a library and a class in a list")
        library = "transformers" if part in ("text_encoder", "tokenizer") else "diffusers"
        wanted = _CLASSES.get(part, (entry[1],))
        if (entry[0] != library or entry[1] not in wanted) and not (published and part == "unet"):
            raise ModelError(
                f"{index} names {'.'.join(entry)} as its {part}; Stable Diffusion 1.x and 2.x have {wanted[0]} of "
                f"{library}, and code of a checkpoint's own is never run"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping from a JSON file of a checkpoint.

    Raises:
        ModelError: it cannot be read, or is no mapping.
    """
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError("it is far larger than such a file is")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; download the checkpoint again") from None
    except (OSError, ValueError, RecursionError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise ModelError(f"{path} cannot be read ({said}); download the checkpoint again") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path} holds no mapping of names to values; download the checkpoint again")
    return data


def check_numbers(path: Path, data: Mapping[str, Any]) -> None:
    """Check that no number of a configuration is beyond what a model can have: some would build layers for hours.

    Raises:
        ModelError: one is.
    """

    def check(name: str, value: Any, depth: int = 0) -> None:
        if isinstance(value, dict) and depth < 20:
            for key, item in value.items():
                check(str(key), item, depth + 1)
        elif isinstance(value, list) and depth < 20 and len(value) <= _MOST_ITEMS:
            for item in value:
                check(name, item, depth + 1)
        elif isinstance(value, (list, dict)):
            raise ModelError(f"{path} has a list in {name!r} longer or deeper than any model's; download it again")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            most = _MOST_LAYERS if "layers" in name else _MOST_NUMBER
            least = 1 if "layers" in name else 2 if name == "num_train_timesteps" else -_MOST_NUMBER
            if not math.isfinite(value) or (isinstance(value, int) and not least <= value <= most):
                raise ModelError(f"{path} says {value!r:.40} for {name!r}, which no model has; download it again")

    for name, value in data.items():
        check(name, value)


def _check_tokenizer_files(folder: Path) -> None:
    """Check that the files of a tokenizer are there.

    Raises:
        ModelError: one is missing, or is no JSON.
    """
    config = read_json(folder / "tokenizer_config.json")
    if "model_max_length" not in config:
        raise ModelError(
            f"{folder / 'tokenizer_config.json'} does not say model_max_length; put the number of tokens that the text "
            "encoder takes there, such as 77"
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
    """Find the files of a part's weights.

    Args:
        folder: of the part.
        stem: of the file's name.
        variant: as diffusers has it, such as ``"fp16"``.

    Raises:
        ModelError: there are none, or only pickles.
    """
    stems = [f"{stem}.{variant}", stem] if variant else [stem]
    for name in stems:
        if (folder / f"{name}.safetensors").is_file():
            return [folder / f"{name}.safetensors"]
    for index in ([f"{stem}.safetensors.index.{variant}.json"] if variant else []) + [f"{stem}.safetensors.index.json"]:
        if (folder / index).is_file():
            return _shards(folder / index)
    try:
        there = sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", *PICKLES))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror or error}); {_GIVE}") from None
    wanted = folder / f"{stem}.safetensors"
    if any(name.endswith(".safetensors") for name in there):
        raise ModelError(
            f"there is no {wanted}, only {', '.join(there[:4])}; rename the one that you mean, or load it with variant="
        )
    if there:
        raise ModelError(
            f"{folder} has its weights only as {there[0]}, a pickle, which can run code and is never read; save "
            "the model as safetensors with diffusers: save_pretrained(..., safe_serialization=True)"
        )
    raise ModelError(f"{wanted} is missing: there are no weights; download the checkpoint again")


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of shards names; they lie beside it."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} names no files of weights; download the checkpoint again")
    files = []
    for name in sorted(set(names.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{index} names {name!r}, which is no safetensors file beside it; download it again")
        if not (index.parent / name).is_file():
            raise ModelError(f"{index.parent / name} is missing; download the checkpoint again")
        files.append(index.parent / name)
    return files


def check_weights(path: Path) -> dict[str, tuple[int, ...]]:
    """Check that a safetensors file is whole, by its header.

    Args:
        path: of the file.

    Returns:
        The shapes of its tensors by name.

    Raises:
        ModelError: it is cut off, damaged or empty.
    """

    def broken(why: str) -> ModelError:
        return ModelError(f"{path} is no whole safetensors file: {why}; download it again")

    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, 100 * 10**6):
                raise broken(f"it has {size} bytes, fewer than its beginning says")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise broken("its header is no mapping")
        header.pop("__metadata__", None)
        return _read_header(header, size - 8 - length, broken)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}); {_GIVE}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise broken(f"its header is no JSON ({first_line(error)})") from None


def _read_header(
    header: Mapping[str, Any], size: int, broken: Callable[[str], ModelError]
) -> dict[str, tuple[int, ...]]:
    """Read the shapes from a header, and check that the tensors fill the file."""
    if not header:
        raise broken("there are no tensors in it")
    shapes, end = {}, 0
    places: list[tuple[int, int]] = []
    for name, entry in header.items():
        try:
            shape, (start, stop), bits = tuple(entry["shape"]), entry["data_offsets"], _DTYPE_BITS.get(entry["dtype"])
            bytes_ = None if bits is None else math.prod(shape) * bits // 8
            whole = all(type(n) is int and n >= 0 for n in (*shape, start, stop)) and bytes_ in (None, stop - start)
        except (TypeError, KeyError, ValueError, AttributeError):
            whole = False
        if not whole:
            raise broken(f"what it says of {name[:100]!r} does not fit together")
        places.append((start, stop))
        shapes[name] = shape
    for start, stop in sorted(places):
        if start != end:
            raise broken("its tensors overlap or leave holes")
        end = stop
    if end != size:
        raise broken(f"its tensors take {end} bytes, and {size} are there")
    return shapes
