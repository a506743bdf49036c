"""The model as a diffusers pipeline: loading and saving it, what identifies it, its text, latents and noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from diffusers.loaders import FromSingleFileMixin, StableDiffusionLoraLoaderMixin, TextualInversionLoaderMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, StableDiffusionMixin

from faircut.attention.context import Layer
from faircut.config.values import TUNED, SpatialTemporal, Supplier
from faircut.edit.inversion import Inversion, to_bytes
from faircut.edit.memory import budget_for_recording, recorded_bytes
from faircut.errors import ConfigError, FaircutError, ModelError
from faircut.model import latents as vae_io
from faircut.model.backbone import Backbone, backbone_of
from faircut.model.checkpoints import PARTS, POCKET, check_folder, first_line, locate, pocket_folder
from faircut.model.fingerprint import fingerprint
from faircut.model.loading import load_parts
from faircut.model.noise_path import DDIMPath, NoisePath
from faircut.model.predictor import ModelText
from faircut.model.temporal import has_temporal, load_temporal, save_temporal, temporal_apart
from faircut.prompts import Prompt

__all__ = ["EditorPipeline"]

P = TypeVar("P", bound="EditorPipeline")


class EditorPipeline(
    DiffusionPipeline,
    StableDiffusionMixin,
    TextualInversionLoaderMixin,
    StableDiffusionLoraLoaderMixin,
    FromSingleFileMixin,
):
    """A diffusers pipeline of a network that can be put under control: the base of `faircut.edit.editor.VideoEditor`.

    Args:
        vae: an ``AutoencoderKL``.
        text_encoder: a ``CLIPTextModel``.
        tokenizer: a fast ``CLIPTokenizer``.
        unet: a ``UNet2DConditionModel`` with cross-attention, or another network that an adapter is registered for
            (`faircut.model.backbone`).
        scheduler: any scheduler of Stable Diffusion; its noise schedule is used, its sampler is not.
        safety_checker: accepted so that folders which name one load; not used.
        feature_extractor: Accepted for the same reason; not used.
        image_encoder: Accepted for the same reason; not used.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"  # type: ignore[assignment]
    _optional_components = ["safety_checker", "feature_extractor", "image_encoder"]  # noqa: RUF012
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        scheduler: Any,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
    ) -> None:
        super().__init__()
        backbone_of(unet)
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
        )

    @classmethod
    def from_pretrained(cls: type[P], model: str | Path = POCKET, **kwargs: Any) -> P:  # type: ignore[override]
        """Load a checkpoint.

        Args:
            model: ``"pocket"`` for the model that ships with faircut, a folder in diffusers' layout, or a name on the
                hub. A folder's ``temporal`` layers (see `faircut.tune`) are attached.
            kwargs: as ``DiffusionPipeline.from_pretrained`` takes them (``dtype``, ``variant``, ``revision``, ...).

        Raises:
            ModelError: If the place holds no Stable Diffusion checkpoint.
        """
        folder = locate(model)
        kwargs = {"safety_checker": None, "feature_extractor": None, **kwargs}
        if folder == pocket_folder():
            # Its weights are stored in half precision for size; half precision is slow or wrong on a CPU.
            kwargs.setdefault("dtype", torch.float32)
        try:
            place = folder or cls._fetch(str(model), kwargs)
            parts = load_parts(place, {part: kwargs.pop(part) for part in PARTS if part in kwargs}, kwargs)
            editor = super().from_pretrained(str(place), **{**kwargs, **parts})
        except FaircutError:
            raise
        except Exception as error:
            # Files, formats and every kind of network trouble end here.
            raise ModelError(
                f"cannot load {str(model)!r} as a Stable Diffusion checkpoint: {first_line(error)}; give 'pocket', a "
                "folder with model_index.json, or a name on the hub"
            ) from error
        if folder is not None:
            load_temporal(editor.unet, folder / "temporal")
        return editor

    @classmethod
    def _fetch(cls, name: str, options: Mapping[str, Any]) -> Path:
        """Return the folder of a checkpoint on the hub, fetched if it is not in the hub's cache yet; no pickles are."""
        own = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token", "variant")
        known = {key: options[key] for key in (*own, "safety_checker", "feature_extractor") if key in options}
        folder = Path(cls.download(name, use_safetensors=True, **known))
        check_folder(folder)
        return folder

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Save the model as any diffusers pipeline, and the temporal layers of a tuned one in a folder beside its
        parts.

        Raises:
            ModelError: it would not load again: adapters sit on it, under whose names diffusers would write its
                weights; or temporal layers are to be pushed to the hub.
        """
        for part in (self.unet, self.text_encoder):
            if any(".base_layer." in name for name, _ in part.named_parameters()):
                raise ModelError(
                    "adapters sit on this model, and its weights would be saved under names that do not load again; "
                    "call unload_lora_weights() first, and fuse_lora() before that to keep what they do"
                )
        if kwargs.get("push_to_hub") and has_temporal(self.unet):
            raise ModelError("diffusers pushes no temporal layers; save the model to a folder and upload the folder")
        with temporal_apart(self.unet):
            super().save_pretrained(str(save_directory), *args, **kwargs)
        save_temporal(self.unet, Path(save_directory) / "temporal")

    # What the pieces are ------------------------------------------------------------------------------------------

    @property
    def backbone(self) -> Backbone:
        """The adapter of the network."""
        return backbone_of(self.unet)

    @property
    def layers(self) -> dict[str, Layer]:
        """The network's attention layers by name, in the order in which they run."""
        return self.backbone.layers()

    @property
    def fingerprint(self) -> str:
        """Identifies the model by all that acts in it: weights, configuration, scheduler, tokenizer, adapters,
        dtype."""
        return fingerprint(self.unet, self.vae, self.text_encoder, self.scheduler, self.tokenizer)

    @property
    def weights_fingerprint(self) -> str:
        """Identifies the model whatever its dtype, its weights as far as half precision holds them."""
        return fingerprint(self.unet, self.vae, self.text_encoder, self.scheduler, self.tokenizer, precision=False)

    @property
    def spatial_temporal(self) -> SpatialTemporal:
        """How frames see each other unless something else is asked for.

        Each sees the middle one, as in FateZero's published configurations; on a model with temporal layers the first
        and the one before, as it was tuned.
        """
        return TUNED if has_temporal(self.unet) else SpatialTemporal()

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt.

        Raises:
            PromptError: it is too long for the model.
        """
        return self.text.tokenize(text)

    @property
    def text(self) -> ModelText:
        """What methods may ask of the model about text."""
        return ModelText(self)

    @property
    def execution_device(self) -> torch.device:
        """Where the model computes, also while its weights lie elsewhere between calls (CPU offloading)."""
        return torch.device(self._execution_device)

    def embed(self, text: str) -> torch.Tensor:
        """Encode a text, (1, token, channel), in the UNet's dtype."""
        return self.text.embed(self.tokenize(text))

    def noise_path(self, num_inference_steps: int) -> NoisePath:
        """Return the noise levels of a run, from the checkpoint's scheduler.

        Args:
            num_inference_steps: N.

        Raises:
            ConfigError: the number of steps is out of range.
        """
        return DDIMPath.of(self.scheduler.config, num_inference_steps)

    # Clips --------------------------------------------------------------------------------------------------------

    def choose_supplier(
        self, supplier: Supplier, clip: torch.Tensor, steps: int, memory_budget: int | None
    ) -> Literal["live", "memory", "disk"]:
        """Decide where the source's attention will come from: ``"auto"`` records if it fits the budget.

        Raises:
            ConfigError: If the supplier does not exist.
        """
        if supplier not in ("auto", "live", "memory", "disk"):
            raise ConfigError(f"supplier is {supplier!r}; give 'auto', 'live', 'memory' or 'disk'")
        if supplier != "auto":
            return supplier
        budget = budget_for_recording() if memory_budget is None else memory_budget
        return "memory" if self.recorded_bytes(clip, steps) <= budget else "live"

    def recorded_bytes(self, clip: torch.Tensor, num_inference_steps: int) -> int:
        """Predict the bytes that recorded attention takes for a clip (frames or latents, 4 axes)."""
        factor = 1 if clip.shape[1] == self.backbone.latent_channels else vae_io.vae_factor(self.vae)
        grid = tuple(-(-side // factor) for side in clip.shape[-2:])
        tokens = self.text.token_limit
        return recorded_bytes(
            self.layers.values(), grid, len(clip), num_inference_steps, tokens, self.backbone.dtype.itemsize
        )

    def to_latents(
        self, clip: torch.Tensor, generator: torch.Generator | None
    ) -> tuple[torch.Tensor, tuple[int, int], torch.Tensor | None]:
        """Encode a clip.

        Args:
            clip: frames, (frame, 3, height, width) in [-1, 1]; or latents, which are passed on.
            generator: draws from the VAE's posterior; None takes its mean.

        Returns:
            The latents, (frame, channel, height, width), float32; the size in pixels, (height, width); and the frames
            as uint8, None for latents.
        """
        device = self._execution_device
        if clip.shape[1] == self.backbone.latent_channels:
            factor = vae_io.vae_factor(self.vae)
            return clip.to(device, torch.float32), (clip.shape[2] * factor, clip.shape[3] * factor), None
        z_0 = vae_io.encode(clip, self.vae, device, generator=generator).float()
        return z_0, (clip.shape[2], clip.shape[3]), to_bytes(clip)

    def decode(self, z: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return the frames of latents, (frame, 3, height, width), RGB in [-1, 1].

        Args:
            z: (frame, channel, height, width), scaled.
            size: (height, width) of the frames in pixels, without padding.
        """
        return vae_io.decode(z, self.vae, self._execution_device, size)

    def check_model(self, inversion: Inversion) -> None:
        """Check that an inversion belongs to this model.

        Raises:
            ModelError: it was made with another one, or with this one before something of it was changed.
        """
        if inversion.model != self.fingerprint:
            raise ModelError(
                f"this inversion was made with another model ({inversion.model[:8]}, not {self.fingerprint[:8]}); "
                "invert the clip with this one: the same weights, configuration, scheduler, tokenizer, adapters and "
                "dtype"
            )
