"""Conversion of published Tune-A-Video checkpoints into models that faircut and diffusers load.

Their ``UNet3DConditionModel`` is Stable Diffusion's UNet with the same names and shapes, plus one temporal attention
for each transformer block. Its convolutions see single frames, and its sparse-causal attention uses the weights of the
self-attention.
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
    """Convert a published Tune-A-Video checkpoint into a folder that `VideoEditor.from_pretrained` loads.

    Every weight is carried over, or an error is raised. Pickled files are read with ``weights_only=True``.

    Args:
        checkpoint: Folder of the checkpoint, with model_index.json and ``unet``, ``vae``, ``text_encoder``,
            ``tokenizer``, ``scheduler``.
        folder: Folder for the model. It must not exist.

    Returns:
        The folder.

    Raises:
        ModelError: If the folder is not such a checkpoint, or has other weights.
        ConfigError: If the folder for the model already exists.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    check_folder(checkpoint, published=True)
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another folder")
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
    """Return diffusers' UNet with temporal layers, from the folder of an inflated UNet.

    Raises:
        ModelError: If the folder does not contain an inflated UNet, or its weights do not fit.
    """
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(_flat_config(folder / "config.json"))
    attach_temporal(unet)
    state, parameters = _weights(folder), unet.state_dict()
    mismatched = [
        name
        for name in {**state, **parameters}
        if name not in state or name not in parameters or state[name].shape != parameters[name].shape
    ]
    if mismatched:
        problems = {
            name: "unknown" if name not in parameters else "missing" if name not in state else "of another shape"
            for name in mismatched
        }
        first = next(iter(problems))
        raise ModelError(
            f"{folder} is not a published Tune-A-Video checkpoint: {len(mismatched)} weights do not fit, the first, "
            f"{first}, is {problems[first]}; its UNet must have Stable Diffusion's layers and "
            f"{len(temporal_state(unet))} temporal weights"
        )
    unet.load_state_dict(state)
    return unet.eval()


def _flat_config(path: Path) -> dict[str, Any]:
    """Return the configuration of diffusers' UNet that corresponds to that of an inflated UNet.

    Raises:
        ModelError: If the configuration belongs to another model, or has a setting that diffusers' UNet does not have.
    """
    from diffusers import UNet2DConditionModel

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); give the folder of a Tune-A-Video checkpoint") from None
    class_name = config.get("_class_name")
    if class_name != _INFLATED:
        hint = "; load it without conversion" if class_name == "UNet2DConditionModel" else ""
        raise ModelError(f"{path} belongs to a {class_name}, but a Tune-A-Video checkpoint has a {_INFLATED}{hint}")
    parameters = set(inspect.signature(UNet2DConditionModel.__init__).parameters)
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    for name in settings:
        if name not in parameters:
            raise ModelError(
                f"{path} has the setting {name!r}, which Stable Diffusion's UNet does not have; give another checkpoint"
            )

    def flat(value: Any) -> Any:
        return value.replace("3D", "2D") if isinstance(value, str) else value

    blocks = ("down_block_types", "up_block_types")
    return {
        name: [flat(v) for v in value] if name in blocks else flat(value) if name == "mid_block_type" else value
        for name, value in settings.items()
    }


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return a UNet's weights in float32, from safetensors if possible.

    Raises:
        ModelError: If there are no weights, or the file contains anything else.
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
        # Damaged archives and pickles of other objects raise many types.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = "safetensors" if isinstance(error, SafetensorError) else "weights"
        raise ModelError(f"the weights in {folder} cannot be read as plain {kind}: {first[:200]}") from error
