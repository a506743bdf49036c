"""Published Tune-A-Video checkpoints as models that faircut and diffusers load.

Their ``UNet3DConditionModel`` is Stable Diffusion's UNet with the same names and shapes (its convolutions see single
frames, its sparse-causal attention has the weights of the self-attention) and one temporal attention a transformer
block.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from faircut.edit.editor import VideoEditor
from faircut.errors import ConfigError, ModelError
from faircut.files import Output, atomic_path, check_outputs
from faircut.model.checkpoints import check_folder
from faircut.model.loading import load_whole
from faircut.model.temporal import attach_temporal, temporal_state

__all__ = ["convert"]

_INFLATED = "UNet3DConditionModel"
_WEIGHTS = "diffusion_pytorch_model"


def convert(checkpoint: str | Path, folder: str | Path) -> Path:
    """Turn a published Tune-A-Video checkpoint into a folder that `VideoEditor.from_pretrained` loads.

    Every weight is carried over, or it is an error; pickled files are read as weights alone.

    Args:
        checkpoint: its folder, with model_index.json and ``unet``, ``vae``, ``text_encoder``, ``tokenizer``,
            ``scheduler``.
        folder: where the model goes; must not exist.

    Returns:
        The folder.

    Raises:
        ModelError: it is no such checkpoint, or holds weights of another kind.
        ConfigError: the folder is there already.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    check_folder(checkpoint, published=True)
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another folder")
    check_outputs([Output(folder, kind="folder")], [checkpoint])
    unet = _deflate(checkpoint / "unet")
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextModel, CLIPTokenizer

    try:
        editor = VideoEditor(
            vae=load_whole(AutoencoderKL, checkpoint / "vae", use_safetensors=None),
            text_encoder=load_whole(CLIPTextModel, checkpoint / "text_encoder", use_safetensors=None),
            tokenizer=CLIPTokenizer.from_pretrained(checkpoint / "tokenizer"),
            unet=unet,
            scheduler=DDIMScheduler.from_pretrained(checkpoint / "scheduler"),
        )
    except (OSError, ValueError, AttributeError, TypeError, ImportError) as error:
        raise ModelError(f"a part of {checkpoint} cannot be read: {' '.join(str(error).split())[:300]}") from error
    with atomic_path(folder) as path:
        editor.save_pretrained(path)
    return folder


def _deflate(folder: Path) -> Any:
    """Build diffusers' UNet with temporal layers from the folder of an inflated one.

    Raises:
        ModelError: it is no inflated UNet, or its weights are others than ours.
    """
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(_flat_config(folder / "config.json"))
    attach_temporal(unet)
    state, there = _weights(folder), unet.state_dict()
    wrong = [name for name in {**state, **there}
             if name not in state or name not in there or state[name].shape != there[name].shape]  # fmt: skip
    if wrong:
        kinds = {name: "unknown" if name not in there else "missing" if name not in state else "of another shape"
                 for name in wrong}  # fmt: skip
        first = next(iter(kinds))
        raise ModelError(
            f"{folder} is no Tune-A-Video checkpoint as published: {len(wrong)} weights do not fit, the first, "
            f"{first}, is {kinds[first]}; its UNet must have Stable Diffusion's layers and {len(temporal_state(unet))} "
            "temporal weights"
        )
    unet.load_state_dict(state)
    return unet.eval()


def _flat_config(path: Path) -> dict[str, Any]:
    """Read an inflated UNet's configuration as that of diffusers' own.

    Raises:
        ModelError: it is of another model, or has a setting that ours does not know.
    """
    from diffusers import UNet2DConditionModel

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); give the folder of a Tune-A-Video checkpoint") from None
    found = config.get("_class_name")
    if found != _INFLATED:
        hint = "; it loads as it is" if found == "UNet2DConditionModel" else ""
        raise ModelError(f"{path} is of a {found}, and a Tune-A-Video checkpoint's is of a {_INFLATED}{hint}")
    known = set(inspect.signature(UNet2DConditionModel.__init__).parameters)
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    for name in settings:
        if name not in known:
            raise ModelError(
                f"{path} has a setting {name!r} that Stable Diffusion's UNet has not: another kind of model"
            )

    def flat(value: Any) -> Any:
        return value.replace("3D", "2D") if isinstance(value, str) else value

    blocks = ("down_block_types", "up_block_types")
    return {
        name: [flat(v) for v in value] if name in blocks else flat(value) if name == "mid_block_type" else value
        for name, value in settings.items()
    }


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read a UNet's weights, from safetensors if there are any, in float32.

    Raises:
        ModelError: there are none, or the file holds more than weights.
    """
    safe, pickled = folder / f"{_WEIGHTS}.safetensors", folder / f"{_WEIGHTS}.bin"
    try:
        if safe.is_file():
            state = load_file(safe)
        elif pickled.is_file():
            state = torch.load(pickled, map_location="cpu", weights_only=True)
        else:
            raise ModelError(f"{folder} has neither {safe.name} nor {pickled.name}; download the checkpoint again")
        return {name: tensor.float() for name, tensor in state.items()}
    except ModelError:
        raise
    except Exception as error:
        # Damaged archives and pickles of other things end here, each in its own way.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = "safetensors" if isinstance(error, SafetensorError) else "weights"
        raise ModelError(f"the weights in {folder} cannot be read as plain {kind}: {first[:200]}") from error
