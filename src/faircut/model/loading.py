"""Loading the parts of a model. Missing weights are an error, because the libraries would make them random."""

from __future__ import annotations

import inspect
import math
import types
import typing
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from faircut.errors import FaircutError, ModelError
from faircut.model.checkpoints import PICKLES, check_hub_name, check_tokenizer, check_weights, first_line, read_json
from faircut.model.fingerprint import read_from
from faircut.model.noise_path import DDIMPath

__all__ = ["check_complete", "check_lora", "load_lora", "load_parts", "load_whole"]

_AGAIN = "download the checkpoint again"
# Settings of a UNet that need inputs other than latents, timestep and prompt.
_CONDITIONS = (
    "class_embed_type",
    "addition_embed_type",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
    "num_class_embeds",
)
# Tables that follow from the configuration. Old files contain them, and nothing reads them.
_TABLES = "position_ids"


def load_parts(folder: Path, given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Load the parts of a Stable Diffusion checkpoint, and check that each is complete and fits the others.

    Args:
        folder: Folder in diffusers' layout, as checked by `checkpoints.check_folder`.
        given: Parts that are already loaded, by name.
        options: Options of ``from_pretrained``: ``dtype`` (one for all parts, or a mapping from part names),
            ``variant``, ``low_cpu_mem_usage``.

    Returns:
        All parts by name.

    Raises:
        ModelError: If a part cannot be loaded, lacks weights, or does not fit the others. The message names the file.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts = dict(given)
    if "scheduler" not in parts:
        parts["scheduler"] = _load_scheduler(folder)
    if "tokenizer" not in parts:
        part_folder = folder / "tokenizer"
        parts["tokenizer"] = _loaded(
            part_folder / "tokenizer_config.json", lambda: CLIPTokenizer.from_pretrained(part_folder)
        )
        check_tokenizer(parts["tokenizer"], str(part_folder))
    shared = {name: options[name] for name in ("variant", "low_cpu_mem_usage") if options.get(name) is not None}
    for part, cls in (("text_encoder", CLIPTextModel), ("vae", AutoencoderKL), ("unet", UNet2DConditionModel)):
        if part in parts:
            continue
        part_folder, dtype = folder / part, options.get("dtype", options.get("torch_dtype"))
        if isinstance(dtype, Mapping):
            dtype = dtype.get(part, dtype.get("default", torch.float32))
        if part != "text_encoder":
            check_types(cls, part_folder / "config.json")
        named = {"dtype" if part == "text_encoder" else "torch_dtype": dtype}
        parts[part] = load_whole(cls, part_folder, **shared, **named)
    _check_fit(folder, parts)
    return parts


def load_whole(cls: Any, folder: Path | str, **options: Any) -> Any:
    """Load a model of diffusers or transformers, and check that its files contain every weight that it needs.

    Args:
        cls: Class of the model.
        folder: Folder of the model's files, or a name on the hub.
        options: Options of ``from_pretrained``. Pickles are not read unless ``use_safetensors=None`` is given.

    Raises:
        ModelError: If the model cannot be loaded, or lacks weights.
    """
    model, loading_info = _loaded(
        folder, lambda: cls.from_pretrained(folder, **{"use_safetensors": True, "output_loading_info": True, **options})
    )
    check_complete(loading_info, str(folder))
    if isinstance(folder, Path):
        read_from(model, folder)
    return model


def _loaded(where: Path | str, load: Any) -> Any:
    """Return what a loading function returns, with any library's exception turned into one of faircut's.

    Raises:
        ModelError: If loading fails.
    """
    try:
        return load()
    except FaircutError:
        raise
    except Exception as error:
        # Each library raises its own types for missing files and for wrong formats, values and shapes.
        raise ModelError(f"cannot load a model from {str(where)!r}: {first_line(error)}; {_AGAIN}") from error


def check_complete(loading_info: Mapping[str, Any], where: str) -> None:
    """Check the report of diffusers or transformers about the weights that they loaded.

    Args:
        loading_info: The ``output_loading_info`` of the library.
        where: Source of the files, for the error message.

    Raises:
        ModelError: If weights are missing or have another shape. They would be random numbers.

    Warns:
        UserWarning: The files contain weights that the model does not use.
    """

    def names(kind: str) -> list[str]:
        entries = loading_info.get(kind) or ()
        return sorted(str(entry if isinstance(entry, str) else entry[0]) for entry in entries)

    missing, mismatched = names("missing_keys"), names("mismatched_keys")
    if missing:
        raise ModelError(
            f"the weights in {where!r} lack {len(missing)} tensors that its configuration needs, such as "
            f"{missing[0]}, which would be random numbers; {_AGAIN}"
        )
    if mismatched or loading_info.get("error_msgs"):
        raise ModelError(
            f"the weights in {where!r} do not fit its configuration: {len(mismatched) or 'some'} tensors have another "
            f"shape{', such as ' + mismatched[0] if mismatched else ''}; {_AGAIN}"
        )
    unused = [name for name in names("unexpected_keys") if not name.endswith(_TABLES)]
    if unused:
        warnings.warn(
            f"the weights in {where!r} contain {len(unused)} tensors that the model does not use, such as {unused[0]}; "
            "they are ignored",
            stacklevel=2,
        )


# Configurations -------------------------------------------------------------------------------------------------------


def check_types(cls: Any, path: Path) -> None:
    """Check the values of a diffusers configuration against the types that its class declares.

    Args:
        cls: Class that the configuration belongs to.
        path: Path of the configuration.

    Raises:
        ModelError: If a value has another type.
    """
    config, build = read_json(path), inspect.unwrap(cls.__init__)
    defaults, hints = inspect.signature(build).parameters, typing.get_type_hints(build)
    for name, value in config.items():
        if name in hints and not (value is None and defaults[name].default is None) and not _fits(hints[name], value):
            hint = hints[name]
            type_name = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
            raise ModelError(f"{path} gives {value!r:.60} for {name!r}, which must be a {type_name}; {_AGAIN}")


def _fits(hint: Any, value: Any) -> bool:
    """Return whether a JSON value has a type. Lists may have any length, because diffusers accepts them so."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in args)
    if origin is typing.Literal:
        return value in args
    if hint in (list, tuple) or origin in (list, tuple):
        items = [option for option in args if option is not Ellipsis]
        return isinstance(value, list) and (not items or all(any(_fits(o, v) for o in items) for v in value))
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return not (hint is type(None) and value is not None) and not (
        isinstance(hint, type) and hint.__module__ == "numpy"
    )


def _load_scheduler(folder: Path) -> Any:
    """Load a scheduler, and check its noise schedule.

    Raises:
        ModelError: If the scheduler's class does not exist or needs a package that is not installed, or if its settings
            do not give a noise schedule.
    """
    import diffusers

    path, name = folder / "scheduler" / "scheduler_config.json", read_json(folder / "model_index.json")["scheduler"][1]
    cls = getattr(diffusers, name, None)
    instead = "put DDIMScheduler there, because faircut uses only the noise schedule of a scheduler"
    if isinstance(cls, type) and ".dummy_" in cls.__module__:
        try:
            cls()
        except Exception as error:
            raise ModelError(
                f"{folder / 'model_index.json'} names {name}: {first_line(error)}; install the package, or {instead}"
            ) from None
    required = ("beta_schedule", "prediction_type", "num_train_timesteps")
    parameters = inspect.signature(cls).parameters if isinstance(cls, type) else {}
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin)) or any(
        x not in parameters for x in required
    ):
        raise ModelError(
            f"{folder / 'model_index.json'} names {name!r}, which is not a scheduler for Stable Diffusion; {instead}"
        )
    check_types(cls, path)
    check_types(diffusers.DDIMScheduler, path)
    scheduler = _loaded(path, lambda: cls.from_pretrained(folder / "scheduler"))
    check_schedule(scheduler.config, str(path))
    return scheduler


def check_schedule(config: Any, where: str) -> None:
    """Check that the configuration of a scheduler gives a noise schedule.

    Args:
        config: The ``config`` of a diffusers scheduler.
        where: Source of the configuration, for the error message.

    Raises:
        ModelError: If the configuration does not give a valid noise schedule.
    """
    from diffusers import DDIMScheduler

    try:
        DDIMPath.of(config, 1)
        ddim = DDIMScheduler.from_config(config, clip_sample=False, thresholding=False)
        betas, levels = ddim.betas, ddim.alphas_cumprod
        train = config["num_train_timesteps"]
    except FaircutError as error:
        raise ModelError(f"{where}: {error}") from None
    except Exception as error:
        raise ModelError(f"{where} does not give a noise schedule: {first_line(error)}; {_AGAIN}") from error
    if len(levels) != train:
        raise ModelError(f"{where} has {len(levels)} trained_betas for {train} timesteps; {_AGAIN}")
    if not ((betas >= 0).all() and (betas <= 1).all() and (levels[:-1] > 0).all()):
        raise ModelError(f"{where} does not give a noise schedule: its betas are out of range; {_AGAIN}")


def _check_fit(folder: Path, parts: Mapping[str, Any]) -> None:
    """Check that the parts of a checkpoint fit each other, and that the UNet needs no other inputs than faircut's.

    Raises:
        ModelError: If the parts do not fit, or the UNet needs other inputs.
    """
    unet, vae, text, tokenizer = (parts[name] for name in ("unet", "vae", "text_encoder", "tokenizer"))
    unet_file = folder / "unet" / "config.json"
    for name in _CONDITIONS:
        if unet.config.get(name) is not None:
            raise ModelError(
                f"{unet_file} gives {unet.config[name]!r} for {name!r}, so it is a different kind of model; give a "
                "Stable Diffusion 1.x or 2.x checkpoint"
            )
    width, text_width = unet.config.cross_attention_dim, text.config.hidden_size
    if width != text_width:
        raise ModelError(
            f"{unet_file} needs embeddings of width {width}, but the text encoder gives {text_width}; {_AGAIN}"
        )
    channels = {"UNet's in_channels": unet.config.in_channels, "UNet's out_channels": unet.config.out_channels}
    for what, number in channels.items():
        if number != vae.config.latent_channels:
            raise ModelError(
                f"{unet_file}: the {what} are {number}, but the VAE's latent_channels are "
                f"{vae.config.latent_channels}; give a plain Stable Diffusion checkpoint (not one for inpainting, "
                "depth or upscaling)"
            )
    vae_file, scale = folder / "vae" / "config.json", vae.config.scaling_factor
    if vae.config.in_channels != 3 or vae.config.out_channels != 3:
        raise ModelError(f"{vae_file} is for pictures that do not have 3 channels; {_AGAIN}")
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError(
            f"{vae_file} gives {scale!r} for 'scaling_factor', which must be above 0, such as 0.18215; {_AGAIN}"
        )
    rows = text.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ModelError(
            f"{folder / 'tokenizer'} has the token {highest}, but the text encoder in {folder / 'text_encoder'} "
            f"embeds only {rows} tokens; {_AGAIN}"
        )
    if tokenizer.model_max_length > text.config.max_position_embeddings:
        raise ModelError(
            f"{folder / 'tokenizer' / 'tokenizer_config.json'} gives {tokenizer.model_max_length} for "
            f"'model_max_length', but the text encoder takes only {text.config.max_position_embeddings} tokens; "
            f"{_AGAIN}"
        )


# LoRAs ----------------------------------------------------------------------------------------------------------------

_GIVE = "give a LoRA's safetensors file, a folder that contains one, or a name on the hub"


def check_lora(path: str) -> None:
    """Check a LoRA as far as possible without a model.

    Args:
        path: A file, a folder or a name on the hub.

    Raises:
        ModelError: If the path is none of these, or the file is not a complete safetensors file.
    """
    if not path.strip() or not path.isprintable():
        raise ModelError(f"{path!r} is not a LoRA; {_GIVE}")
    place = Path(path).expanduser()
    try:
        is_file, is_folder = place.is_file(), place.is_dir()
        files = sorted(place.iterdir()) if is_folder else [place] if is_file else []
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the LoRA {path[:200]!r}: {first_line(error)}; {_GIVE}") from None
    safetensors = [file for file in files if file.suffix == ".safetensors"]
    if (is_file or is_folder) and not safetensors:
        pickles = [file for file in files if file.suffix in PICKLES]
        why = f"{pickles[0].name} is a pickle, which can run code" if pickles else "it has no safetensors file"
        raise ModelError(f"cannot load the LoRA {path}: {why}; {_GIVE}")
    if is_folder and len(safetensors) > 1 and not (place / "pytorch_lora_weights.safetensors").is_file():
        raise ModelError(f"{path} contains {len(safetensors)} safetensors files; give the one that is the LoRA")
    for file in safetensors[: 1 if is_file else len(safetensors)]:
        check_weights(file)
    if not safetensors:
        if path.startswith((".", "/", "~")) or place.suffix:
            raise ModelError(f"cannot load the LoRA {path}: the file does not exist; {_GIVE}")
        check_hub_name(path, _GIVE)


def load_lora(editor: Any, path: str, name: str) -> None:
    """Load a LoRA into an editor, with an error if any weight is missing.

    Args:
        editor: The editor.
        path: A file, a folder or a name on the hub.
        name: Name for the adapter.

    Raises:
        ModelError: If the LoRA cannot be read, or belongs to another model.

    Warns:
        UserWarning: The model does not use some of the LoRA's weights.
    """
    check_lora(path)
    try:
        loaded_state = editor.lora_state_dict(str(Path(path).expanduser()), use_safetensors=True)
        state = dict(loaded_state[0] if isinstance(loaded_state, tuple) else loaded_state)
        # load_lora_weights removes entries from a mapping that it is given, so it gets the path.
        editor.load_lora_weights(str(Path(path).expanduser()), adapter_name=name, use_safetensors=True)
    except Exception as error:
        # Many types end here: missing files, wrong formats and shapes, a missing peft, network errors.
        raise ModelError(f"cannot load the LoRA {path}: {' '.join(str(error).split())[:300]}") from error
    loaded = [
        tensor
        for part in (editor.unet, editor.text_encoder)
        for key, tensor in part.named_parameters()
        if name in key.split(".")
    ]
    given = [tensor for key, tensor in state.items() if not key.endswith(".alpha")]
    if not loaded:
        raise ModelError(
            f"cannot load the LoRA {path}: this model uses none of its {len(given)} tensors; give a LoRA that was "
            "made for this model"
        )
    missing = _without_source(loaded, given)
    if missing:
        raise ModelError(
            f"the LoRA {path} lacks {missing} tensors of its layers, which would be random numbers; download it again"
        )
    if len(given) > len(loaded):
        warnings.warn(
            f"this model does not use {len(given) - len(loaded)} of the {len(given)} tensors of the LoRA {path}; "
            "they are ignored",
            stacklevel=2,
        )


def _without_source(loaded: Sequence[torch.Tensor], given: Iterable[torch.Tensor]) -> int:
    """Return how many weights of a model equal none of a file's tensors, whatever their names are."""
    by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for tensor in given:
        by_shape.setdefault(tuple(tensor.shape), []).append(tensor)

    def has_source(weight: torch.Tensor) -> bool:
        candidates = by_shape.get(tuple(weight.shape), [])
        return any(torch.equal(tensor.to(weight), weight) for tensor in candidates)

    return sum(not has_source(weight.detach()) for weight in loaded)
