"""Loading the parts of a model, so that nothing in it is random: what a model needs and its files lack is an error."""

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
# Settings of a UNet that need inputs beside latents, step and prompt.
_CONDITIONS = (
    "class_embed_type",
    "addition_embed_type",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
    "num_class_embeds",
)
# Tables that follow from the configuration; old files hold them, and nothing reads them.
_TABLES = "position_ids"


def load_parts(folder: Path, given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Load the parts of a Stable Diffusion checkpoint, each checked for being whole, and for fitting the others.

    Args:
        folder: in diffusers' layout, as `checkpoints.check_folder` wants it.
        given: parts that are there already, by name.
        options: of ``from_pretrained``: ``dtype`` (one, or one for each part by its name), ``variant``,
            ``low_cpu_mem_usage``.

    Returns:
        All parts by name.

    Raises:
        ModelError: a part cannot be loaded, lacks weights, or does not fit the others; names the file.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts = dict(given)
    if "scheduler" not in parts:
        parts["scheduler"] = _load_scheduler(folder)
    if "tokenizer" not in parts:
        place = folder / "tokenizer"
        parts["tokenizer"] = _loaded(place / "tokenizer_config.json", lambda: CLIPTokenizer.from_pretrained(place))
        check_tokenizer(parts["tokenizer"], str(place))
    shared = {name: options[name] for name in ("variant", "low_cpu_mem_usage") if options.get(name) is not None}
    for part, cls in (("text_encoder", CLIPTextModel), ("vae", AutoencoderKL), ("unet", UNet2DConditionModel)):
        if part in parts:
            continue
        place, dtype = folder / part, options.get("dtype", options.get("torch_dtype"))
        if isinstance(dtype, Mapping):
            dtype = dtype.get(part, dtype.get("default", torch.float32))
        if part != "text_encoder":
            check_types(cls, place / "config.json")
        named = {"dtype" if part == "text_encoder" else "torch_dtype": dtype}
        parts[part] = load_whole(cls, place, **shared, **named)
    _check_fit(folder, parts)
    return parts


def load_whole(cls: Any, folder: Path | str, **options: Any) -> Any:
    """Load a model of diffusers or transformers whose files have every weight that it needs.

    Args:
        cls: its class.
        folder: of its files; or a name on the hub.
        options: of ``from_pretrained``; without ``use_safetensors=None`` pickles are not read.

    Raises:
        ModelError: it cannot be loaded, or lacks weights.
    """
    model, found = _loaded(
        folder, lambda: cls.from_pretrained(folder, **{"use_safetensors": True, "output_loading_info": True, **options})
    )
    check_complete(found, str(folder))
    if isinstance(folder, Path):
        read_from(model, folder)
    return model


def _loaded(where: Path | str, load: Any) -> Any:
    try:
        return load()
    except FaircutError:
        raise
    except Exception as error:
        # Files, formats, values and shapes: each library has its own exceptions for what is wrong with them.
        raise ModelError(f"cannot load a model by {str(where)!r}: {first_line(error)}; {_AGAIN}") from error


def check_complete(found: Mapping[str, Any], where: str) -> None:
    """Check what diffusers and transformers say of the weights that they have loaded.

    Args:
        found: their ``output_loading_info``.
        where: the files are, for the message.

    Raises:
        ModelError: weights are missing or of another shape: they would be random numbers.

    Warns:
        UserWarning: the files hold weights that the model has no place for.
    """

    def names(kind: str) -> list[str]:
        entries = found.get(kind) or ()
        return sorted(str(entry if isinstance(entry, str) else entry[0]) for entry in entries)

    missing, other = names("missing_keys"), names("mismatched_keys")
    if missing:
        raise ModelError(
            f"the weights in {where!r} lack {len(missing)} tensors that its configuration needs, such as {missing[0]}; "
            f"they would be random numbers: {_AGAIN}"
        )
    if other or found.get("error_msgs"):
        raise ModelError(
            f"the weights in {where!r} do not fit its configuration: {len(other) or 'some'} tensors are of another "
            f"shape{', such as ' + other[0] if other else ''}; {_AGAIN}"
        )
    more = [name for name in names("unexpected_keys") if not name.endswith(_TABLES)]
    if more:
        warnings.warn(
            f"the weights in {where!r} hold {len(more)} tensors that its configuration has no place for, such as "
            f"{more[0]}; they do nothing",
            stacklevel=2,
        )


# Configurations -------------------------------------------------------------------------------------------------------


def check_types(cls: Any, path: Path) -> None:
    """Check the values of a configuration of diffusers against the types that its class declares.

    Raises:
        ModelError: one is of another type.
    """
    config, build = read_json(path), inspect.unwrap(cls.__init__)
    defaults, hints = inspect.signature(build).parameters, typing.get_type_hints(build)
    for name, value in config.items():
        if name in hints and not (value is None and defaults[name].default is None) and not _fits(hints[name], value):
            wanted = hints[name]
            shown = wanted.__name__ if isinstance(wanted, type) and not typing.get_args(wanted) else str(wanted)
            raise ModelError(f"{path} says {value!r:.60} for {name!r}, which must be a {shown}; {_AGAIN}")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value of JSON is of a type; lists may be of any length, as diffusers takes them."""
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
    """Load a scheduler, and try its noise schedule.

    Raises:
        ModelError: there is no such scheduler, it needs what is not installed, or its settings give no schedule.
    """
    import diffusers

    path, name = folder / "scheduler" / "scheduler_config.json", read_json(folder / "model_index.json")["scheduler"][1]
    cls = getattr(diffusers, name, None)
    instead = "put DDIMScheduler there: of a scheduler only the noise schedule is used"
    if isinstance(cls, type) and ".dummy_" in cls.__module__:
        try:
            cls()
        except Exception as error:
            raise ModelError(
                f"{folder / 'model_index.json'} names {name}: {first_line(error)}; install that, or {instead}"
            ) from None
    wanted = ("beta_schedule", "prediction_type", "num_train_timesteps")
    known = inspect.signature(cls).parameters if isinstance(cls, type) else {}
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin)) or any(x not in known for x in wanted):
        raise ModelError(
            f"{folder / 'model_index.json'} names {name!r} as its scheduler, which is none of Stable Diffusion's; "
            f"{instead}"
        )
    check_types(cls, path)
    check_types(diffusers.DDIMScheduler, path)
    scheduler = _loaded(path, lambda: cls.from_pretrained(folder / "scheduler"))
    check_schedule(scheduler.config, str(path))
    return scheduler


def check_schedule(config: Any, where: str) -> None:
    """Check that the configuration of a scheduler gives a noise schedule.

    Args:
        config: of a diffusers scheduler.
        where: it is from, for the message.

    Raises:
        ModelError: it gives none.
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
        raise ModelError(f"{where} gives no noise schedule: {first_line(error)}; {_AGAIN}") from error
    if len(levels) != train:
        raise ModelError(f"{where} has {len(levels)} trained_betas for {train} timesteps; {_AGAIN}")
    if not ((betas >= 0).all() and (betas <= 1).all() and (levels[:-1] > 0).all()):
        raise ModelError(f"{where} gives no noise schedule: its betas are out of range; {_AGAIN}")


def _check_fit(folder: Path, parts: Mapping[str, Any]) -> None:
    """Check that the parts of a checkpoint fit each other, and that the UNet asks for nothing that faircut does not
    give.

    Raises:
        ModelError: they do not.
    """
    unet, vae, text, tokenizer = (parts[name] for name in ("unet", "vae", "text_encoder", "tokenizer"))
    unet_file = folder / "unet" / "config.json"
    for name in _CONDITIONS:
        if unet.config.get(name) is not None:
            raise ModelError(
                f"{unet_file} says {unet.config[name]!r} for {name!r}: another kind of model; give a Stable "
                "Diffusion 1.x or 2.x checkpoint"
            )
    width, words = unet.config.cross_attention_dim, text.config.hidden_size
    if width != words:
        raise ModelError(f"{unet_file} wants embeddings of width {width}, and the text encoder gives {words}; {_AGAIN}")
    channels = {"UNet's in_channels": unet.config.in_channels, "UNet's out_channels": unet.config.out_channels}
    for what, number in channels.items():
        if number != vae.config.latent_channels:
            raise ModelError(
                f"{unet_file}: the {what} are {number}, and the VAE's latent_channels {vae.config.latent_channels}; "
                "give a plain Stable Diffusion checkpoint (not one for inpainting, depth or upscaling)"
            )
    vae_file, scale = folder / "vae" / "config.json", vae.config.scaling_factor
    if vae.config.in_channels != 3 or vae.config.out_channels != 3:
        raise ModelError(f"{vae_file} is of pictures with other channels than 3; {_AGAIN}")
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError(
            f"{vae_file} says {scale!r} for 'scaling_factor', which must be above 0, such as 0.18215; {_AGAIN}"
        )
    rows = text.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise ModelError(
            f"{folder / 'tokenizer'} has a token {highest}, and the text encoder in {folder / 'text_encoder'} "
            f"embeds {rows}; {_AGAIN}"
        )
    if tokenizer.model_max_length > text.config.max_position_embeddings:
        raise ModelError(
            f"{folder / 'tokenizer' / 'tokenizer_config.json'} says {tokenizer.model_max_length} for "
            f"'model_max_length', and the text encoder takes {text.config.max_position_embeddings} tokens; {_AGAIN}"
        )


# LoRAs ----------------------------------------------------------------------------------------------------------------

_GIVE = "give a LoRA's safetensors file, a folder that holds one, or a name on the hub"


def check_lora(path: str) -> None:
    """Check what can be known of a LoRA without a model.

    Args:
        path: a file, a folder or a name on the hub.

    Raises:
        ModelError: it is none of these, or no whole safetensors file.
    """
    if not path.strip() or not path.isprintable():
        raise ModelError(f"{path!r} is no LoRA; {_GIVE}")
    place = Path(path).expanduser()
    try:
        is_file, is_folder = place.is_file(), place.is_dir()
        files = sorted(place.iterdir()) if is_folder else [place] if is_file else []
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the LoRA {path[:200]!r}: {first_line(error)}; {_GIVE}") from None
    whole = [file for file in files if file.suffix == ".safetensors"]
    if (is_file or is_folder) and not whole:
        pickles = [file for file in files if file.suffix in PICKLES]
        why = f"{pickles[0].name} is a pickle, which can run code" if pickles else "there is no safetensors file"
        raise ModelError(f"cannot load the LoRA {path}: {why}; {_GIVE}")
    if is_folder and len(whole) > 1 and not (place / "pytorch_lora_weights.safetensors").is_file():
        raise ModelError(f"{path} holds {len(whole)} safetensors files; give the one that is the LoRA")
    for file in whole[: 1 if is_file else len(whole)]:
        check_weights(file)
    if not whole:
        if path.startswith((".", "/", "~")) or place.suffix:
            raise ModelError(f"cannot load the LoRA {path}: there is no such file; {_GIVE}")
        check_hub_name(path, _GIVE)


def load_lora(editor: Any, path: str, name: str) -> None:
    """Load a LoRA onto an editor, every weight of it or an error.

    Args:
        editor: the pipeline.
        path: a file, a folder or a name on the hub.
        name: of the adapter.

    Raises:
        ModelError: it cannot be read, or is of another model.

    Warns:
        UserWarning: some of its weights have no place in the model.
    """
    check_lora(path)
    try:
        found = editor.lora_state_dict(str(Path(path).expanduser()), use_safetensors=True)
        state = dict(found[0] if isinstance(found, tuple) else found)
        # Loading takes entries out of the mapping that it is given.
        editor.load_lora_weights(str(Path(path).expanduser()), adapter_name=name, use_safetensors=True)
    except Exception as error:
        # Files, formats, shapes, a missing peft and every kind of network trouble end here.
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
            f"cannot load the LoRA {path}: none of its {len(given)} tensors has a place in this model; it is of "
            "another one"
        )
    absent = _without_source(loaded, given)
    if absent:
        raise ModelError(
            f"the LoRA {path} lacks {absent} tensors of its layers, which would be random numbers; get it again"
        )
    if len(given) > len(loaded):
        warnings.warn(
            f"{len(given) - len(loaded)} of the {len(given)} tensors of the LoRA {path} have no place in this model; "
            "they do nothing",
            stacklevel=2,
        )


def _without_source(loaded: Sequence[torch.Tensor], given: Iterable[torch.Tensor]) -> int:
    """Count the weights in a model that are none of the tensors of a file, whatever their names have become."""
    by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for tensor in given:
        by_shape.setdefault(tuple(tensor.shape), []).append(tensor)

    def has_source(weight: torch.Tensor) -> bool:
        some = by_shape.get(tuple(weight.shape), [])
        return any(torch.equal(tensor.to(weight), weight) for tensor in some)

    return sum(not has_source(weight.detach()) for weight in loaded)
