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

from .corpus import SOURCE, TARGET, Case, World, edit

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
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
)

BROKEN = [
    # Weights: nothing that is missing may become random numbers.
    *(
        bad(f"{part} lacks tensor {n}", weights(stem, drop(n)), f"{part}.* lack 1 tensor")
        for part, stem in _PARTS.items()
        for n in (0, 3, -1)
    ),
    *(
        bad(
            f"{part} is an empty safetensors file",
            content(f"{stem}.safetensors", EMPTY),
            f"{stem}.*contains no tensors",
        )
        for part, stem in _PARTS.items()
    ),
    *(
        bad(f"{part} is a file of no bytes", content(f"{stem}.safetensors", b""), f"{stem}.*not a complete safetensors")
        for part, stem in _PARTS.items()
    ),
    *(
        bad(f"{part} is cut off at {share}", cut(stem, share), f"{stem}.*not a complete safetensors")
        for part, stem in _PARTS.items()
        for share in (0.01, 0.5, 0.999)
    ),
    *(bad(f"{part} has a tensor of another shape", weights(stem, reshape), f"{part}") for part, stem in _PARTS.items()),
    *(
        bad(f"{part} has no weights", without(f"{stem}.safetensors"), f"{stem}.safetensors.* is missing")
        for part, stem in _PARTS.items()
    ),
    *(
        bad(
            f"{part} has only a pickle",
            renamed(f"{stem}.safetensors", f"{stem}.bin"),
            f"{Path(stem).name}.bin, a pickle",
        )
        for part, stem in _PARTS.items()
    ),
    *(
        bad(
            f"{part} is text",
            content(f"{stem}.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
            f"{stem}.*not a complete",
        )
        for part, stem in _PARTS.items()
    ),
    bad("only a variant of the unet", renamed(f"{UNET}.safetensors", f"{UNET}.fp16.safetensors"), "unet"),
    # JSON.
    *(
        bad(f"{file} is {what}", content(file, data), rf"{Path(file).name}")
        for file in _JSON
        for what, data in (
            ("a list", "[1, 2]"),
            ("a number", "3"),
            ("null", "null"),
            ("cut off", '{"_class_name": '),
            ("empty", ""),
            ("binary", b"\xff\xfe\x00"),
            ("deep", '{"a": ' * 3000 + "1" + "}" * 3000),
        )
    ),
    *(bad(f"{file} is missing", without(file), rf"{Path(file).name}") for file in _JSON),
    *(
        bad(f"no {part} folder", without(part), f"{part} missing")
        for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    ),
    # The index.
    bad("a pipeline with code of its own", index(_class_name=["pipeline", "Evil"]), "custom code"),
    bad("a unet with code of its own", index(unet=["my_unet", "MyUNet"]), "my_unet.MyUNet as its unet"),
    bad("another unet", index(unet=["diffusers", "UNet3DConditionModel"]), "UNet3DConditionModel as its unet"),
    bad("another text encoder", index(text_encoder=["transformers", "T5EncoderModel"]), "T5EncoderModel"),
    bad("another vae", index(vae=["diffusers", "AutoencoderKLWan"]), "AutoencoderKLWan"),
    bad(
        "a part of XL",
        index(text_encoder_2=["transformers", "CLIPTextModelWithProjection"]),
        "text_encoder_2.*different kind",
    ),
    bad("a unet that is null", index(unet=[None, None]), "its unet"),
    bad("a unet that is a number", index(unet=3), "its unet"),
    bad("a unet of three words", index(unet=["a", "b", "c"]), "its unet"),
    # The scheduler.
    bad("a scheduler that does not exist", index(scheduler=["diffusers", "NoSuchScheduler"]), "NoSuchScheduler"),
    bad(
        "a scheduler that is no scheduler",
        index(scheduler=["diffusers", "UNet2DConditionModel"]),
        "UNet2DConditionModel",
    ),
    bad("a scheduler of flows", index(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "not a scheduler"),
    bad("a scheduler of another library", index(scheduler=["os", "system"]), "os.system"),
    bad("unknown betas", scheduler(beta_schedule="zigzag"), "scheduler_config.json.*zigzag"),
    bad("an unknown prediction", scheduler(prediction_type="guess"), "scheduler_config.json.*guess"),
    bad("a prediction that is not edited", scheduler(prediction_type="sample"), "scheduler_config.json.*sample"),
    bad("an unknown spacing", scheduler(timestep_spacing="random"), "scheduler_config.json.*random"),
    *(
        bad(f"{key} is {value!r:.20}", scheduler(**{key: value}), "scheduler_config.json.*")
        for key, value in (
            ("beta_start", "small"),
            ("beta_end", [1]),
            ("num_train_timesteps", "many"),
            ("num_train_timesteps", 10**12),
            ("num_train_timesteps", 0),
            ("num_train_timesteps", -5),
            ("num_train_timesteps", 2.5),
            ("steps_offset", 10**6),
            ("steps_offset", -4),
            ("steps_offset", "one"),
            ("beta_end", 5.0),
            ("beta_start", -1.0),
            ("trained_betas", [0.1, 0.2]),
            ("trained_betas", "abc"),
            ("beta_start", float("nan")),
            ("beta_end", float("inf")),
            ("set_alpha_to_one", "yes"),
            ("rescale_betas_zero_snr", 3),
        )
    ),
    # Configurations.
    *(
        bad(f"unet {key} is {value!r:.30}", configured("unet/config.json", **{key: value}), "unet")
        for key, value in (
            ("layers_per_block", 10**9),
            ("layers_per_block", "two"),
            ("layers_per_block", -1),
            ("block_out_channels", "wide"),
            ("block_out_channels", []),
            ("block_out_channels", [8]),
            ("block_out_channels", [10**9, 1, 1]),
            ("in_channels", 9),
            ("in_channels", "4"),
            ("out_channels", 8),
            ("cross_attention_dim", 32),
            ("cross_attention_dim", "wide"),
            ("attention_head_dim", 0),
            ("attention_head_dim", "x"),
            ("down_block_types", ["NoSuchBlock"] * 3),
            ("down_block_types", 5),
            ("act_fn", "no_such"),
            ("norm_num_groups", 7),
            ("norm_num_groups", 0),
            ("class_embed_type", "timestep"),
            ("addition_embed_type", "text_time"),
            ("num_class_embeds", 4),
            ("time_cond_proj_dim", 8),
            ("norm_eps", "small"),
            ("mid_block_type", "NoSuch"),
            ("time_embedding_type", "no_such"),
            ("transformer_layers_per_block", 10**8),
            ("conv_in_kernel", 5),
            ("attention_type", "gated"),
        )
    ),
    *(
        bad(f"vae {key} is {value!r:.30}", configured("vae/config.json", **{key: value}), "vae")
        for key, value in (
            ("scaling_factor", "big"),
            ("scaling_factor", 0.0),
            ("scaling_factor", -1.0),
            ("scaling_factor", float("nan")),
            ("latent_channels", 16),
            ("in_channels", 1),
            ("block_out_channels", "x"),
            ("layers_per_block", 10**9),
            ("norm_num_groups", 0),
            ("down_block_types", ["NoSuchBlock"]),
            ("act_fn", 3),
        )
    ),
    *(
        bad(f"text encoder {key} is {value!r:.30}", configured("text_encoder/config.json", **{key: value}), "text")
        for key, value in (
            ("hidden_size", "wide"),
            ("hidden_size", 32),
            ("num_hidden_layers", 10**9),
            ("num_hidden_layers", "x"),
            ("num_attention_heads", 0),
            ("num_attention_heads", 3),
            ("vocab_size", 3),
            ("vocab_size", 10**12),
            ("max_position_embeddings", 10),
            ("max_position_embeddings", 10**13),
            ("hidden_act", "no_such"),
            ("layer_norm_eps", "x"),
        )
    ),
    # The tokenizer.
    bad("no words", without("tokenizer/tokenizer.json"), "missing"),
    bad(
        "a tokenizer without a length",
        configured("tokenizer/tokenizer_config.json", model_max_length=None),
        "model_max_length",
    ),
    *(
        bad(
            f"a tokenizer whose length is {value!r}",
            configured("tokenizer/tokenizer_config.json", model_max_length=value),
            "model_max_length",
        )
        for value in (10**30, "many", -1, 0, 1000, 2.5, True, [77])
    ),
    bad("a tokenizer that is no tokenizer", content("tokenizer/tokenizer.json", '{"version": "1.0"}'), "tokenizer"),
    bad("a tokenizer without tokens", content("tokenizer/tokenizer.json", "{}"), "tokenizer"),
]


# Where no model is ----------------------------------------------------------------------------------------------------


def named(name: str, model: str, says: str, make: Callable[[World], object] | None = None, **more: Any) -> Case:
    """An edit with a name of a model that cannot be one."""
    environment = {"HF_HUB_OFFLINE": "1", **more.pop("environment", {})}
    arguments = edit("-o", "out.mp4", "--model", model)
    return Case(
        f"no model: {name}", arguments, says=says, environment=environment, **({"make": make} if make else {}), **more
    )


def loops(world: World) -> None:
    os.symlink("loop", world.folder / "loop")


NAMES = [
    named("an empty name", "", "name of the model is empty"),
    named("blanks", "   ", "name of the model is empty"),
    named("a control character", "a\x1b[31mb", "characters"),
    named("a line break", "a\nb", "characters"),
    named("a zero byte", "a\0b", "zero byte"),
    named("a name that is too long", "x" * 3000, "."),
    named("a path that is too long", "./" + "x" * 3000, "."),
    named("a file", "jeep.mp4", "jeep.mp4"),
    named("a file by its full path", "{folder}/jeep.mp4", "model_index.json"),
    named("a folder of pictures", "frames", "model_index.json"),
    named("an empty folder", "empty", "it contains nothing", lambda world: (world.folder / "empty").mkdir()),
    named("this folder", ".", "model_index.json"),
    named("a folder that is not there", "./nowhere", "does not exist"),
    named("a link to nothing", "gone", "does not exist", lambda world: os.symlink("nowhere", world.folder / "gone")),
    named("a link to itself", "loop", "loop", loops),
    named("a name on the hub that was never fetched, offline", "nobody/nothing-here", "nobody/nothing-here"),
    named("a name on the hub of one word, offline", "nothing-here", "nothing-here"),
    named("no name of the hub", "a b", "not a valid name on the hub"),
    named("no name of the hub, with slashes", "a/b/c/d", "not a valid name on the hub"),
    named("an address", "https://example.com/model", "not a valid name on the hub"),
    named("one file of weights", "w.safetensors", "single file", lambda world: world.write("w.safetensors", EMPTY)),
    named("one pickle", "w.ckpt", "single file", lambda world: world.write("w.ckpt", b"\x80\x04N.")),
]


# LoRAs, CLIPs and readers ---------------------------------------------------------------------------------------------


def lora(
    names: Callable[[int], str] = lambda n: LAYERS[n], width: int = 8, kinds: tuple[str, ...] = ("A", "B")
) -> Callable[[World], object]:
    def make(world: World) -> None:
        shapes = {"A": (2, width), "B": (width, 2)}
        tensors = {
            f"{names(n)}.lora_{kind}.weight": torch.full(shapes[kind], 0.1 + n) for n in range(2) for kind in kinds
        }
        save_file(tensors, world.folder / "l.safetensors", metadata={"format": "pt"})

    return make


LAYERS = tuple(f"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn{n}.to_q" for n in (1, 2))


def with_lora(
    name: str, path: str, says: str | None, make: Callable[[World], object] = lambda world: None, **more: Any
) -> Case:
    arguments = edit("-o", "out.mp4", "--lora", path)
    return Case(f"lora: {name}", arguments, make=make, says=says, environment={"HF_HUB_OFFLINE": "1"}, **more)


LORAS = [
    with_lora("that fits", "l.safetensors", None, lora(), code=0, new=("out.*",)),
    with_lora("with a scale", "l.safetensors:0.5", None, lora(), code=0, new=("out.*",)),
    with_lora("in a folder", ".", None, lora(), code=0, new=("out.*",)),
    with_lora("of another model", "l.safetensors", "cannot load the LoRA", lora(lambda n: f"unet.nowhere.{n}.to_q")),
    with_lora("of another width", "l.safetensors", "cannot load the LoRA l.safetensors", lora(width=9)),
    with_lora("without its first halves", "l.safetensors", "LoRA", lora(kinds=("B",))),
    with_lora("without its second halves", "l.safetensors", "LoRA", lora(kinds=("A",))),
    with_lora("that is not there", "nothing.safetensors", "the file does not exist"),
    with_lora("that is not there, as a path", "./nothing", "the file does not exist"),
    with_lora("with an empty name", "", "."),
    with_lora("with a control character", "a\x1bb", "."),
    with_lora("that is a clip", "jeep.mp4", "it has no safetensors file"),
    with_lora("that is a folder of pictures", "frames", "it has no safetensors file"),
    with_lora("that is a pickle", "l.bin", "a pickle", lambda world: world.write("l.bin", b"\x80\x04N.")),
    with_lora(
        "that is a pickle in a folder",
        "p",
        "a pickle",
        lambda world: world.write("p/pytorch_lora_weights.bin", b"\x80\x04N."),
    ),
    with_lora("that is empty", "l.safetensors", "no tensors", lambda world: world.write("l.safetensors", EMPTY)),
    with_lora("of no bytes", "l.safetensors", "not a complete", lambda world: world.write("l.safetensors", b"")),
    with_lora(
        "that is text",
        "l.safetensors",
        "not a complete",
        lambda world: world.write("l.safetensors", "hello, here I am"),
    ),
    with_lora(
        "that is cut off",
        "l.safetensors",
        "not a complete",
        lambda world: (lora()(world), world.write("l.safetensors", (world.folder / "l.safetensors").read_bytes()[:-3])),
    ),
    with_lora("that is a checkpoint", "{model}/unet/diffusion_pytorch_model.safetensors", "cannot load the LoRA"),
    with_lora("on the hub, offline", "nobody/nothing-here", "nobody/nothing-here.* HF_HUB_OFFLINE"),
]


def clip_copied(change: Change) -> Callable[[World], None]:
    from faircut.model.checkpoints import pocket_folder

    def make(world: World) -> None:
        shutil.copytree(pocket_folder() / "clip", world.folder / "clip")
        change(world.folder / "clip")

    return make


EVALUATE = ("evaluate", "jeep.mp4", "--source", "jeep.mp4", "-s", "a jeep", "-p", "a car", "--clip")


def clip(name: str, path: str, says: str, change: Change | None = None, **more: Any) -> list[Case]:
    """A CLIP that cannot measure, and cannot read people either."""
    make = {"make": clip_copied(change)} if change else {}
    reader = edit("-o", "out.mp4", "--method", "fame", "--blend", "jeep:car", "--target", "preserve", "--reader", path)
    return [
        Case(f"{what}: {name}", arguments, says=says, environment={"HF_HUB_OFFLINE": "1"}, **make, **more)
        for what, arguments in (("clip", (*EVALUATE, path)), ("reader", reader))
    ]


CLIPS = [
    *clip("a Stable Diffusion folder", "{model}", "as a CLIP"),
    *clip("a text encoder alone", "{model}/text_encoder", "clip_text_model"),
    *clip("a folder of pictures", "frames", "config.json"),
    *clip("a file", "jeep.mp4", "it is a file"),
    *clip("a folder that is not there", "./nowhere", "the folder does not exist"),
    *clip("an empty name", "", "not a valid name"),
    *clip("a control character", "a\x1bb", "not a valid name"),
    *clip("a name on the hub, offline", "nobody/nothing-here", "nobody/nothing-here"),
    *clip("without a tensor", "clip", "lack 1 tensor", weights("model", drop(5))),
    *clip(
        "without many tensors",
        "clip",
        "lack 1\\d tensors",
        weights("model", lambda t: [t.pop(k) for k in sorted(t)[:17]]),
    ),
    *clip("with an empty file of weights", "clip", "no tensors", content("model.safetensors", EMPTY)),
    *clip("with weights that are cut off", "clip", "not a complete", cut("model", 0.7)),
    *clip("with only a pickle", "clip", "a pickle", renamed("model.safetensors", "pytorch_model.bin")),
    *clip("without a tokenizer", "clip", "knows no words|tokenizer", without("tokenizer.json")),
    *clip("without a length", "clip", "model_max_length", configured("tokenizer_config.json", model_max_length=None)),
    *clip("without its processing", "clip", "preprocessor_config.json", without("preprocessor_config.json")),
    *clip("with two means", "clip", "image_mean", configured("preprocessor_config.json", image_mean=[0.5, 0.5])),
    *clip("with an odd spread", "clip", "image_std", configured("preprocessor_config.json", image_std=["a", 1, 1])),
    *clip("with a configuration that is a list", "clip", "config.json", content("config.json", "[]")),
    *clip("with a configuration of another kind", "clip", "siglip", configured("config.json", model_type="siglip")),
]
CASES = [*BROKEN, *NAMES, *LORAS, *CLIPS]


# One key --------------------------------------------------------------------------------------------------------------


def two_models(change: Change) -> Callable[[World], None]:
    """Copy the tiny model to ``one``, and changed to ``two``."""

    def make(world: World) -> None:
        for name in ("one", "two"):
            shutil.copytree(world.model, world.folder / name)
        change(world.folder / "two")

    return make


def from_cache(expected: bool) -> Callable[[World, str], None]:
    def check(world: World, out: str) -> None:
        report = json.loads((world.folder / "out.report.json").read_text())
        assert report["inversion_from_cache"] is expected

    return check


def added_token(folder: Path) -> None:
    """Add a word to the tokenizer and its row to the embedding, as a textual inversion does."""
    configured("text_encoder/config.json", vocab_size=_vocabulary(folder) + 1)(folder)
    weights(
        TEXT,
        lambda t: t.update({k: torch.cat([v, v[-1:]]) for k, v in t.items() if k.endswith("token_embedding.weight")}),
    )(folder)


def _vocabulary(folder: Path) -> int:
    return int(json.loads((folder / "text_encoder/config.json").read_text())["vocab_size"])


def nudged(tensors: dict[str, torch.Tensor]) -> None:
    tensors[sorted(tensors)[-1]].view(-1)[-1] += 0.001


MODELS = {
    "prediction type": scheduler(prediction_type="v_prediction"),
    "spacing": scheduler(timestep_spacing="trailing"),
    "betas": scheduler(beta_end=0.013),
    "offset": scheduler(steps_offset=0),
    "sampler": index(scheduler=["diffusers", "PNDMScheduler"]),
    "scaling factor": configured("vae/config.json", scaling_factor=0.4),
    "one value of the unet": weights(UNET, nudged),
    "one value of the vae": weights(VAE, nudged),
    "one value of the text encoder": weights(TEXT, nudged),
    "vocabulary": added_token,
}

KEYS = [
    *(
        Case(
            f"key: the {name} of a model changes, and nothing is found",
            edit("-o", "out.mp4", "--model", "two"),
            make=two_models(change),
            before=(edit("-o", "first.mp4", "--model", "one"),),
            code=0,
            says=None,
            new=("out.*",),
            check=from_cache(False),
        )
        for name, change in MODELS.items()
    ),
    *(
        Case(
            f"key: an inversion of a model whose {name} is another is refused",
            edit("-o", "out.mp4", "--model", "two", "--inversion", "kept"),
            make=two_models(change),
            before=(("invert", "jeep.mp4", "-s", SOURCE, "--model", "one", "--steps", 2, "-o", "kept"),),
            says="made with another model",
        )
        for name, change in MODELS.items()
    ),
    Case(
        "key: the same model in another folder finds the inversion",
        edit("-o", "out.mp4", "--model", "two"),
        make=two_models(lambda folder: None),
        before=(edit("-o", "first.mp4", "--model", "one"),),
        code=0,
        says=None,
        new=("out.*",),
        check=from_cache(True),
    ),
    *(
        Case(
            f"key: {' '.join(flags)} is another inversion",
            edit("-o", "out.mp4", *flags),
            make=lora(),
            before=(edit("-o", "first.mp4"),),
            code=0,
            says=None,
            new=("out.*",),
            check=from_cache(False),
        )
        for flags in (
            ("--attend", "0"),
            ("--per-frame-norm",),
            ("--fixed-point", "0.5"),
            ("--dtype", "bfloat16"),
            ("--lora", "l.safetensors"),
            ("--frames", "2"),
        )
    ),
]


def swept(*more: Any) -> tuple[Any, ...]:
    return (
        "sweep", "jeep.mp4", "-s", SOURCE, "-p", TARGET, "--model", "{model}", "--steps", 2, "--over",
        "cross_replace_steps=0.2", "-o", "swept", *more,
    )  # fmt: skip


def records(expected: int) -> Callable[[World, str], None]:
    def check(world: World, out: str) -> None:
        assert len(list((world.folder / "swept" / "records").glob("*.json"))) == expected

    return check


KEYS += [
    Case(
        f"key: a sweep with {what} is another one",
        swept(*flags),
        before=(swept(),),
        code=0,
        says=None,
        new=("swept/*", "swept/*/*"),
        changed=("swept/*", "swept/*/*"),
        check=records(number),
        slow=what != "frames that see themselves alone",
    )
    for what, flags, number in (
        ("nothing changed", (), 1),
        ("frames that see themselves alone", ("--attend", "0", "--per-frame-norm"), 2),
        ("a fixed point", ("--fixed-point", "0.5"), 2),
        ("another source prompt", ("-s", "a jeep"), 2),
        ("fewer frames", ("--frames", "2"), 2),
        ("a narrower type", ("--dtype", "bfloat16"), 2),
    )
]
CASES += KEYS
