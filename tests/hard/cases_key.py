"""Models that are broken or of another kind, and results that must not come back for something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .corpus import Case, World, edit

UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"
Change = Callable[[Path], Any]


def copied(change: Change) -> Callable[[World], None]:
    """Copy the tiny model to ``bad`` in the working folder, and change it."""

    def make(world: World) -> None:
        shutil.copytree(world.model, world.folder / "bad")
        change(world.folder / "bad")

    return make


def bad(name: str, change: Change, says: str, **more: Any) -> Case:
    """An edit with a model that was changed; it is refused, and says why."""
    arguments = edit("-o", "out.mp4", "--model", "bad")
    return Case(f"model: {name}", arguments, make=copied(change), says=says, **more)


def configured(file: str, **values: Any) -> Change:
    """Change values of a JSON file; None takes one out."""

    def change(folder: Path) -> None:
        path = folder / file
        data = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))

    return change


def index(**values: Any) -> Change:
    return configured("model_index.json", **values)


def scheduler(**values: Any) -> Change:
    return configured("scheduler/scheduler_config.json", **values)


def content(file: str, data: bytes | str) -> Change:
    return lambda folder: (folder / file).write_bytes(data.encode() if isinstance(data, str) else data)


def without(*files: str) -> Change:
    def change(folder: Path) -> None:
        for file in files:
            path = folder / file
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def weights(stem: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Change the tensors of a file."""

    def apply(folder: Path) -> None:
        path = folder / f"{stem}.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return apply


def cut(stem: str, share: float) -> Change:
    def change(folder: Path) -> None:
        path = folder / f"{stem}.safetensors"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return change


def renamed(old: str, new: str) -> Change:
    return lambda folder: (folder / old).rename(folder / new)


def drop(number: int) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors.pop(sorted(tensors)[number])


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors[sorted(tensors)[2]] = torch.zeros(3, 3)


EMPTY = (2).to_bytes(8, "little") + b"{}"
_PARTS = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
_JSON = (
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json",
)  # fmt: skip

BROKEN = [
    # Weights: nothing that is missing may become random numbers.
    *(bad(f"{part} lacks tensor {n}", weights(stem, drop(n)), f"{part}.* lack 1 tensor") for part, stem in _PARTS.items() for n in (0, 3, -1)),
    *(bad(f"{part} is an empty safetensors file", content(f"{stem}.safetensors", EMPTY), f"{stem}.*no tensors in it") for part, stem in _PARTS.items()),
    *(bad(f"{part} is a file of no bytes", content(f"{stem}.safetensors", b""), f"{stem}.*no whole safetensors") for part, stem in _PARTS.items()),
    *(bad(f"{part} is cut off at {share}", cut(stem, share), f"{stem}.*no whole safetensors") for part, stem in _PARTS.items() for share in (0.01, 0.5, 0.999)),
    *(bad(f"{part} has a tensor of another shape", weights(stem, reshape), f"{part}") for part, stem in _PARTS.items()),
    *(bad(f"{part} has no weights", without(f"{stem}.safetensors"), f"{stem}.safetensors.* is missing") for part, stem in _PARTS.items()),
    *(bad(f"{part} has only a pickle", renamed(f"{stem}.safetensors", f"{stem}.bin"), f"{Path(stem).name}.bin, a pickle") for part, stem in _PARTS.items()),
    *(bad(f"{part} is text", content(f"{stem}.safetensors", "version https://git-lfs.github.com/spec/v1\n"), f"{stem}.*no whole") for part, stem in _PARTS.items()),
    bad("only a variant of the unet", renamed(f"{UNET}.safetensors", f"{UNET}.fp16.safetensors"), "unet"),
    # JSON.
    *(bad(f"{file} is {what}", content(file, data), rf"{Path(file).name}") for file in _JSON for what, data in (
        ("a list", "[1, 2]"), ("a number", "3"), ("null", "null"), ("cut off", '{"_class_name": '), ("empty", ""), ("binary", b"\xff\xfe\x00"),
        ("deep", '{"a": ' * 3000 + "1" + "}" * 3000),
    )),
    *(bad(f"{file} is missing", without(file), rf"{Path(file).name}") for file in _JSON),
    *(bad(f"no {part} folder", without(part), f"{part} missing") for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")),
    # The index.
    bad("a pipeline with code of its own", index(_class_name=["pipeline", "Evil"]), "code of its own"),
    bad("a unet with code of its own", index(unet=["my_unet", "MyUNet"]), "my_unet.MyUNet as its unet"),
    bad("another unet", index(unet=["diffusers", "UNet3DConditionModel"]), "UNet3DConditionModel as its unet"),
    bad("another text encoder", index(text_encoder=["transformers", "T5EncoderModel"]), "T5EncoderModel"),
    bad("another vae", index(vae=["diffusers", "AutoencoderKLWan"]), "AutoencoderKLWan"),
    bad("a part of XL", index(text_encoder_2=["transformers", "CLIPTextModelWithProjection"]), "text_encoder_2.*another kind"),
    bad("a unet that is null", index(unet=[None, None]), "its unet"),
    bad("a unet that is a number", index(unet=3), "its unet"),
    bad("a unet of three words", index(unet=["a", "b", "c"]), "its unet"),
    # The scheduler.
    bad("a scheduler that does not exist", index(scheduler=["diffusers", "NoSuchScheduler"]), "NoSuchScheduler"),
    bad("a scheduler that is no scheduler", index(scheduler=["diffusers", "UNet2DConditionModel"]), "UNet2DConditionModel"),
    bad("a scheduler of flows", index(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "none of Stable"),
    bad("a scheduler of another library", index(scheduler=["os", "system"]), "os.system"),
    bad("unknown betas", scheduler(beta_schedule="zigzag"), "scheduler_config.json.*zigzag"),
    bad("an unknown prediction", scheduler(prediction_type="guess"), "scheduler_config.json.*guess"),
    bad("a prediction that is not edited", scheduler(prediction_type="sample"), "scheduler_config.json.*sample"),
    bad("an unknown spacing", scheduler(timestep_spacing="random"), "scheduler_config.json.*random"),
    *(bad(f"{key} is {value!r:.20}", scheduler(**{key: value}), f"scheduler_config.json.*") for key, value in (
        ("beta_start", "small"), ("beta_end", [1]), ("num_train_timesteps", "many"), ("num_train_timesteps", 10**12), ("num_train_timesteps", 0),
        ("num_train_timesteps", -5), ("num_train_timesteps", 2.5), ("steps_offset", 10**6), ("steps_offset", -4), ("steps_offset", "one"), ("beta_end", 5.0), ("beta_start", -1.0),
        ("trained_betas", [0.1, 0.2]), ("trained_betas", "abc"), ("beta_start", float("nan")), ("beta_end", float("inf")), ("set_alpha_to_one", "yes"), ("rescale_betas_zero_snr", 3),
    )),
    # Configurations.
    *(bad(f"unet {key} is {value!r:.30}", configured("unet/config.json", **{key: value}), "unet") for key, value in (
        ("layers_per_block", 10**9), ("layers_per_block", "two"), ("layers_per_block", -1), ("block_out_channels", "wide"), ("block_out_channels", []), ("block_out_channels", [8]), ("block_out_channels", [10**9, 1, 1]),
        ("in_channels", 9), ("in_channels", "4"), ("out_channels", 8), ("cross_attention_dim", 32), ("cross_attention_dim", "wide"), ("attention_head_dim", 0), ("attention_head_dim", "x"),
        ("down_block_types", ["NoSuchBlock"] * 3), ("down_block_types", 5), ("act_fn", "no_such"), ("norm_num_groups", 7), ("norm_num_groups", 0), ("class_embed_type", "timestep"),
        ("addition_embed_type", "text_time"), ("num_class_embeds", 4), ("time_cond_proj_dim", 8), ("norm_eps", "small"), ("mid_block_type", "NoSuch"), ("time_embedding_type", "no_such"),
        ("transformer_layers_per_block", 10**8), ("conv_in_kernel", 5), ("attention_type", "gated"),
    )),
    *(bad(f"vae {key} is {value!r:.30}", configured("vae/config.json", **{key: value}), "vae") for key, value in (
        ("scaling_factor", "big"), ("scaling_factor", 0.0), ("scaling_factor", -1.0), ("scaling_factor", float("nan")), ("latent_channels", 16), ("in_channels", 1), ("block_out_channels", "x"),
        ("layers_per_block", 10**9), ("norm_num_groups", 0), ("down_block_types", ["NoSuchBlock"]), ("act_fn", 3),
    )),
    *(bad(f"text encoder {key} is {value!r:.30}", configured("text_encoder/config.json", **{key: value}), "text") for key, value in (
        ("hidden_size", "wide"), ("hidden_size", 32), ("num_hidden_layers", 10**9), ("num_hidden_layers", "x"), ("num_attention_heads", 0), ("num_attention_heads", 3), ("vocab_size", 3), ("vocab_size", 10**12),
        ("max_position_embeddings", 10), ("max_position_embeddings", 10**13), ("hidden_act", "no_such"), ("layer_norm_eps", "x"),
    )),
    # The tokenizer.
    bad("no words", without("tokenizer/tokenizer.json"), "missing"),
    bad("a tokenizer without a length", configured("tokenizer/tokenizer_config.json", model_max_length=None), "model_max_length"),
    *(bad(f"a tokenizer whose length is {value!r}", configured("tokenizer/tokenizer_config.json", model_max_length=value), "model_max_length") for value in (10**30, "many", -1, 0, 1000, 2.5, True, [77])),
    bad("a tokenizer that is no tokenizer", content("tokenizer/tokenizer.json", '{"version": "1.0"}'), "tokenizer"),
    bad("a tokenizer without tokens", content("tokenizer/tokenizer.json", "{}"), "tokenizer"),
]  # fmt: skip
CASES = [*BROKEN]
