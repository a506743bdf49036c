"""Train the text encoder and the UNet together, with the attention to each word kept inside its subject's mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Where
from faircut.model.backbone import backbone_of
from faircut.pocket.attention_maps import CrossAttentionMaps, one_evaluation
from faircut.pocket.generate import sample_latents
from faircut.pocket.pictures import contact_sheet, to_pixels
from faircut.pocket.train.config import DenoiserConfig, TrainConfig
from faircut.pocket.train.data import HEADS, MASK_SIZE, Stills
from faircut.pocket.train.loop import pick_device, pick_weighted, step_rng
from faircut.pocket.train.tokenizer import load_tokenizer
from faircut.pocket.train.wording import write_captions
from faircut.pocket.vocabulary import LABELS

__all__ = [
    "DenoiserStage",
    "LatentSize",
    "TrainingMaps",
    "build_scheduler",
    "build_text_encoder",
    "build_unet",
    "localisation_loss",
]

LatentSize = 32
NOUN_ATTENTION = 0.4
"""Minimum share of the attention of a subject's cells that should go to its noun."""
ATTRIBUTE_ATTENTION = 0.2
"""Minimum share for the words for its gender, hair and colour together."""
PREVIEW_PROMPTS = (
    "a female doctor in a hospital",
    "a male nurse walking in a park",
    "a female firefighter on a street",
    "a male teacher standing in an office",
    "a chef in a kitchen",
    "a police officer walking on a street",
    "a redhead female pilot in the snow",
    "a woman in red walking on a beach",
    "a man in green standing on a farm",
    "a female doctor and a male chef in an office",
    "a male farmer next to a female ceo on a farm",
    "a red car driving on a street",
    "a blue car driving on a street",
    "a yellow bus driving in a desert",
    "a green boat sailing on a lake",
    "a white rabbit in a park",
    "an orange cat in a kitchen",
    "a black horse walking on a beach",
    "a watercolour painting of a purple train in the snow",
    "a pencil sketch of a dog on a street",
    "a pixel art of a red jeep in a desert",
    "a night scene of a nurse in a hospital",
    "a sepia photo of an engineer on a farm",
    "a neon drawing of a scientist in an office",
)


def build_text_encoder(config: DenoiserConfig, tokenizer: Any) -> Any:
    """Build a standard CLIP text encoder with random weights.

    Args:
        config: Settings of the denoiser.
        tokenizer: Tokenizer that defines the vocabulary and the special tokens.

    Returns:
        A transformers CLIPTextModel.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    model: Any = CLIPTextModel(
        CLIPTextConfig(  # type: ignore[call-arg]
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=4 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=config.text_heads,
            max_position_embeddings=config.max_length,
            hidden_act="quick_gelu",
            projection_dim=config.text_width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",
        )
    )
    with torch.no_grad():
        # Large compared with the random output of the first layers, so that words are distinguishable from the start.
        model.get_input_embeddings().weight *= 10
    return model


def build_unet(config: DenoiserConfig, latent_channels: int) -> Any:
    """Build a standard UNet with random weights.

    Args:
        config: Settings of the denoiser.
        latent_channels: Channels of a latent.

    Returns:
        A diffusers UNet2DConditionModel.
    """
    from diffusers import UNet2DConditionModel

    down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in config.attention)
    up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(config.attention))
    return UNet2DConditionModel(
        sample_size=LatentSize,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=8,
        attention_head_dim=config.heads,  # the number of heads, as in Stable Diffusion 1.x
        cross_attention_dim=config.text_width,
    )


def build_scheduler() -> Any:
    """Build the noise schedule of Stable Diffusion 1.x.

    Returns:
        A diffusers DDIMScheduler.
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


class TrainingMaps(CrossAttentionMaps):
    """A controller that records cross-attention maps for a loss that has no gradient to the text encoder.

    The text encoder could lower the loss most easily by giving all colours the same state, and the meaning of "red"
    would be lost. So each map is computed a second time, from the layer's queries and from keys of the text without
    gradient.

    Attributes:
        text: (picture, token, channel), text states that condition the UNet; must be set before each evaluation.
    """

    text: Tensor

    def __init__(self, unet: Any, where: Where) -> None:
        """Attach to a UNet.

        Args:
            unet: UNet whose layers project the text.
            where: Layers whose attention is computed explicitly.
        """
        super().__init__()
        self.backbone, self.where = backbone_of(unet), where

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Record the map of a cross-attention layer; changes nothing."""
        if context.layer.kind == "cross":
            key, _ = self.backbone.project(context.layer, self.text.detach())
            scores = (qkv.query * qkv.query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
            self.keep(context, scores.softmax(dim=-1))
        return context, qkv

    def on_probs(self, context: AttentionContext, probs: Tensor, queries: slice) -> Tensor:
        """Make the layer compute attention explicitly; records and changes nothing."""
        return probs


def localisation_loss(
    maps: Sequence[Tensor], tokens: Tensor, masks: Tensor, side: int = LatentSize
) -> tuple[Tensor, Tensor]:
    """Return the loss for attention to a subject's words outside its mask, or too little attention inside.

    For every layer, subject and kind of word: ``(1 - share of the attention inside the mask)^2 + 0.5 * max(0, 1 - mean
    attention of the mask's cells / goal)^2`` with the goal `NOUN_ATTENTION` or `ATTRIBUTE_ATTENTION`. If nouns could
    take all of the attention, "red" would get none and would not be learned.

    Args:
        maps: Probabilities of each layer, (pictures, queries, tokens). Only layers at a half and a quarter of the
            latent resolution count: 16x16 and 8x8 queries at full size.
        tokens: (pictures, subjects, 2, tokens), 1 where a token belongs to the subject's noun, or to its attributes.
        masks: (pictures, subjects, 16, 16), share of each cell that the subject covers.
        side: Height and width of the latents.

    Returns:
        The loss, and the mean share of the nouns' attention inside the masks, both scalars.
    """
    grids = (side // 2, side // 4)
    sizes = {grid**2: F.avg_pool2d(masks, MASK_SIZE // grid).flatten(2)[:, :, None] for grid in grids}
    exists = ((tokens.sum(-1) > 0) & (masks.sum((-1, -2)) > 0)[..., None]).float()
    total = exists.sum((0, 1)).clamp_min(1.0)
    goals = tokens.new_tensor([NOUN_ATTENTION, ATTRIBUTE_ATTENTION])
    losses, shares = [], []
    for probabilities in maps:
        inside = sizes.get(probabilities.shape[1])
        if inside is None:
            continue
        # (picture, subject, kind of word, query)
        mass = torch.einsum("bqt,bskt->bskq", probabilities.float(), tokens)
        within = (mass * inside).sum(-1)
        share = within / mass.sum(-1).clamp_min(1e-6)
        missing = F.relu(1 - within / inside.sum(-1).clamp_min(1e-6) / goals)
        losses.append(((((1 - share) ** 2 + 0.5 * missing**2) * exists).sum((0, 1)) / total).sum())
        shares.append(((share.detach() * exists).sum((0, 1)) / total)[0])
    return torch.stack(losses).mean(), torch.stack(shares).mean()


class DenoiserStage:
    """The stage that trains the text encoder and the UNet to predict the noise in a latent, given its caption."""

    name = "denoiser"

    def __init__(self, config: TrainConfig, output: Path, init: Path | None = None):
        """Prepare the stage.

        Args:
            config: Settings of the whole training.
            output: Folder of the training, with ``data``, ``tokenizer`` and ``vae``.
            init: Model folder to start from. None for random weights.
        """
        self.config, self.settings, self.optim = config, config.denoiser, config.denoiser.optim
        self.output = output
        torch.manual_seed(config.run.seed)
        self.device = pick_device(config.run)
        self.tokenizer = load_tokenizer(output / "tokenizer")
        self.text = build_text_encoder(self.settings, self.tokenizer)
        self.unet = build_unet(self.settings, config.vae.latent_channels)
        if init is not None:
            from diffusers import UNet2DConditionModel
            from transformers import CLIPTextModel

            self.unet.load_state_dict(UNet2DConditionModel.from_pretrained(init / "unet").float().state_dict())
            self.text.load_state_dict(CLIPTextModel.from_pretrained(init / "text_encoder").float().state_dict())
        self.rates = {"text.": self.settings.text_rate}
        # On a GPU, fused self-attention is faster than explicit attention. It is used in layers without a controller.
        self.recorder = TrainingMaps(self.unet, Where() if self.device.type == "cpu" else Where(kind="cross"))
        self.model = nn.ModuleDict({"text": self.text, "unet": self.unet}).to(self.device)
        self.stills = Stills(output / "data", "train", config.data)
        write_captions(output / "data", output / "tokenizer", config.data)
        labels = dict(zip(HEADS, self.stills.labels[:, 0].T, strict=True))
        rare = (labels["kind"] == LABELS["kind"].index("animal")).astype(float) + (labels["style"] > 0)
        self.chances = np.cumsum(1 + self.settings.rare * rare)
        # A GPU holds all latents in memory; a CPU reads them by memory map.
        self.latents = (
            None
            if self.device.type == "cpu"
            else torch.from_numpy(self.stills.all_latents(self.settings.downscale)).to(self.device)
        )
        self.empty = torch.tensor(self.tokenizer("", padding="max_length").input_ids)
        self.scheduler = build_scheduler()
        self.alphas = self.scheduler.alphas_cumprod.to(self.device)

    def caption_ids(self, rows: np.ndarray, wording: np.ndarray | int = 0) -> Tensor:
        """Return the captions of some stills, each in one of its wordings, as token ids (n, length)."""
        short = torch.from_numpy(self.stills.captions[0][rows, wording].astype(np.int64))
        return F.pad(short, (0, self.settings.max_length - short.shape[1]), value=self.tokenizer.pad_token_id)

    def _words(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return captions in random wordings, some dropped: ids (n, length), and words (n, 2, 2, length) of 0 or 1."""
        ids, words = self.stills.captions
        pick = rng.integers(ids.shape[1], size=len(rows))
        keep = torch.from_numpy(rng.random(len(rows)) >= self.settings.drop)[:, None]
        short = ids.shape[-1]
        bits = torch.from_numpy(words[rows, pick].astype(np.int64))[..., None] >> torch.arange(short) & 1
        token_masks = torch.zeros(len(rows), *bits.shape[1:3], self.settings.max_length)
        token_masks[..., :short] = bits * keep[..., None, None]
        return torch.where(keep, self.caption_ids(rows, pick), self.empty), token_masks

    def loss(self, step: int, rank: int, world: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Stage`."""
        n = self.optim.batch // world
        rng = step_rng(self.config.run.seed, self.name, step, rank)
        rows = pick_weighted(self.chances, rng, n)
        ids, words = self._words(rows, rng)
        # Stratified timesteps, one in each of n equal ranges, so that the loss varies less between steps.
        t = torch.from_numpy(((rng.permutation(n) + rng.random(n)) / n * 1000).astype(np.int64)).to(self.device)
        if self.latents is None:
            z = torch.from_numpy(self.stills.latents(rows, self.settings.downscale)).float()
            noise = torch.from_numpy(rng.standard_normal(z.shape, np.float32))
        else:
            z = self.latents[torch.from_numpy(rows).to(self.device)].float()
            source = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
            noise = torch.randn(z.shape, generator=source, device=self.device)
        z = z * self.config.vae.scale
        masks = torch.from_numpy(self.stills.masks[rows]).to(self.device).float() / 255
        ids, words = ids.to(self.device), words.to(self.device)
        a = self.alphas[t][:, None, None, None]
        noisy = a.sqrt() * z + (1 - a).sqrt() * noise
        self.recorder.text = context = self.text(ids).last_hidden_state
        with backbone_of(self.unet).install([self.recorder], frames=1, clip_norm=False) as control:
            control.begin(one_evaluation(noisy))
            out = self.unet(noisy, t, context).sample.float()
        snr = self.alphas[t] / (1 - self.alphas[t])
        weight = snr.clamp_max(self.settings.snr_gamma) / snr
        error = (out - noise).pow(2).mean((1, 2, 3))
        denoise = (error * weight).mean()
        localisation, share = localisation_loss(self.recorder.maps, words, masks, z.shape[-1])
        self.recorder.clear()
        figures = {"denoise": denoise.detach(), "place": localisation.detach(), "share": share}
        return denoise + self.settings.localise * localisation, figures

    def preview(self, path: Path) -> dict[str, float]:
        """See `Stage`."""
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(self.output / "vae").to(self.device)
        ids = self.tokenizer(
            ["", *PREVIEW_PROMPTS], padding="max_length", max_length=self.settings.max_length, truncation=True
        ).input_ids
        context = self.text(torch.tensor(ids, device=self.device)).last_hidden_state
        side = LatentSize // self.settings.downscale
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16"):
            z = sample_latents(
                self.unet, self.scheduler, context[1:], context[:1], steps=20, guidance=5.0, seed=0, side=side
            )
        pictures = [vae.decode(part / vae.config.scaling_factor).sample for part in z.split(8)]
        contact_sheet(to_pixels(torch.cat(pictures)), 8, path)
        return {}
