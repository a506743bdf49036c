"""A network that is no UNet is edited through an adapter, with its frames in the batch or in one sequence."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager

import pytest
import torch
from diffusers import ModelMixin
from torch import nn
from torch.nn import functional as F

from faircut import SpatialTemporal, VideoEditor
from faircut.attention.context import Layer
from faircut.attention.controller import QKV, Controller, Where
from faircut.attention.stages import split_heads
from faircut.errors import AttentionError, ConfigError, ModelError
from faircut.methods import BlendedLatent, Ddim, Fame, FateZero, MasaCtrl, Person, PlugAndPlay, TokenFlow
from faircut.model.backbone import Backbone, backbone_names, backbone_of, register_backbone
from tests.conftest import make_editor

SOURCE, TARGET = "a silver jeep driving down the road", "a red car driving down the road"
STEPS, CHANNELS, HEADS = 4, 16, 2


# The network: a patch embedding, one layer of self-attention, one of cross-attention. It knows nothing of faircut.


class ToyAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(CHANNELS, CHANNELS) for _ in range(4))
        self.attend = F.scaled_dot_product_attention

    def forward(self, x, context, mask=None):
        query, key, value = (split_heads(y, HEADS) for y in (self.to_q(x), self.to_k(context), self.to_v(context)))
        return x + self.to_out(self.attend(query, key, value, mask).transpose(1, 2).flatten(2))


class ToyDenoiser(ModelMixin):
    """Latents (batch, 4, height, width), in patches of 2 x 2, to noise of the same shape."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(4, CHANNELS, 2, stride=2)
        self.look, self.read = ToyAttention(), ToyAttention()
        self.unpatch = nn.ConvTranspose2d(CHANNELS, 4, 2, stride=2)
        with torch.no_grad():  # peaky attention, so that what is taken from the source shows
            for layer in (self.look, self.read):
                layer.to_q.weight.mul_(6)
                layer.to_k.weight.mul_(6)
                layer.to_out.weight.mul_(3)

    def forward(self, z, timestep, text, frames=1):
        x = self.patch(z) + timestep / 1000
        height, width = x.shape[-2:]
        # (entry, position, channel): the positions of one frame, or those of all frames of a clip.
        x = x.flatten(2).transpose(1, 2).reshape(-1, frames * height * width, CHANNELS)
        frame = torch.arange(frames).repeat_interleave(height * width)
        mask = torch.zeros(len(frame), len(frame)).masked_fill(frame[:, None] != frame, -math.inf)[None, None]
        x = self.read(self.look(x, x, mask if frames > 1 else None), text)
        x = x.reshape(-1, height * width, CHANNELS).transpose(1, 2).unflatten(2, (height, width))
        return self.unpatch(x)


# The adapter: all that faircut has to be told.


@register_backbone("ToyDenoiser")
class ToyBackbone(Backbone):
    latent_channels = 4
    text_channels = 16

    def layers(self):
        return {
            "look": Layer("look", "self", CHANNELS, HEADS, patch=(1, 2, 2), decoder=True),
            "read": Layer("read", "cross", CHANNELS, HEADS, patch=(1, 2, 2), decoder=True),
        }

    @contextmanager
    def attach(self, control):
        modules = {layer: getattr(self.network, name) for name, layer in control.layers.items()}
        before = {layer: module.attend for layer, module in modules.items()}
        try:
            for layer, module in modules.items():
                module.attend = lambda q, k, v, mask, layer=layer: control.attend(layer, QKV(q, k, v), mask)
            yield
        finally:
            for layer, module in modules.items():
                module.attend = before[layer]

    def predict(self, z, timestep, text, layout):
        return self.network(z, timestep, text)

    def project(self, layer, embedding):
        module = getattr(self.network, layer.name)
        return split_heads(module.to_k(embedding), HEADS), split_heads(module.to_v(embedding), HEADS)


# The same network and adapter, with all frames of a clip in one sequence. Each frame attends to itself.


class ToyVideoDenoiser(ToyDenoiser):
    pass


@register_backbone("ToyVideoDenoiser")
class ToyVideoBackbone(ToyBackbone):
    frames_in = "sequence"

    def predict(self, z, timestep, text, layout):
        return self.network(z, timestep, text, layout.frames)


def editor_of(network):
    editor = make_editor()
    parts = {name: getattr(editor, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    editor = VideoEditor(unet=network, **parts)
    editor.set_progress_bar_config(disable=True)
    return editor


@pytest.fixture(scope="module")
def toy():
    return editor_of(ToyDenoiser().eval())


@pytest.fixture(scope="module")
def inversion(toy):
    torch.manual_seed(1)
    return toy.invert(torch.randn(3, 4, 12, 16), SOURCE, num_inference_steps=STEPS, supplier="live")


def edit(editor, inversion, method, **options):
    generator = torch.Generator().manual_seed(0)
    return editor.edit(inversion, TARGET, method, output_type="latent", generator=generator, **options).latents


class Watch(Controller):
    """Notes where attention was computed, and changes nothing."""

    where = Where(phases=("invert", "denoise"))
    branches = None

    def __init__(self):
        self.seen = {}

    def on_probs(self, context, probs, queries):
        assert torch.allclose(probs.sum(-1), torch.ones(()), atol=1e-5)
        self.seen[context.layer.name] = (context.grid, probs.shape[2:])
        return probs


def test_a_network_that_is_no_unet_is_edited(toy, inversion):
    plain = edit(toy, inversion, Ddim())
    assert plain.shape == (3, 4, 12, 16)
    assert torch.isfinite(plain).all()
    edits = {
        "fatezero": FateZero(blend_words=("jeep", "car"), latent_blend_steps=1.0),
        "masactrl": MasaCtrl(steps=(0.0, 1.0)),
        "fame": Fame(people=(Person("jeep", "car", "female"),)),
        "blended-latent": BlendedLatent(words="jeep"),
        "tokenflow": TokenFlow(interval=2, feature_layer="unpatch"),
    }
    results = {name: edit(toy, inversion, method) for name, method in edits.items()}
    for name, result in results.items():
        assert not torch.allclose(result, plain, atol=1e-2), name
    # Nothing is left in the network.
    assert toy.unet.look.attend is toy.unet.read.attend is F.scaled_dot_product_attention
    assert all(not module._forward_hooks for module in toy.unet.modules())


def test_without_windows_fusion_is_ddim(toy, inversion):
    nothing = FateZero(cross_replace_steps=0.0, self_replace_steps=0.0)
    torch.testing.assert_close(edit(toy, inversion, nothing), edit(toy, inversion, Ddim()), atol=1e-6, rtol=0)


def test_controllers_see_the_layers_of_the_adapter(toy):
    backbone, watch = backbone_of(toy.unet), Watch()
    z, text = torch.randn(2, 4, 12, 16), torch.randn(2, 77, 16)
    expected = toy.unet(z, torch.tensor(500), text)
    noise = predict_once(toy, z, text, watch)
    torch.testing.assert_close(noise, expected, atol=1e-5, rtol=1e-4)
    assert watch.seen == {"look": ((6, 8), (48, 48)), "read": ((6, 8), (48, 77))}
    assert list(backbone.layers()) == ["look", "read"]


def predict_once(toy, z, text, watch):
    """Evaluate the network once under a controller, frames attending to themselves."""
    from faircut.attention.context import BatchLayout, Step

    backbone, layout = backbone_of(toy.unet), BatchLayout(("cond",), len(z))
    with torch.no_grad(), backbone.install([watch], frames=len(z)) as control:
        control.begin(Step("denoise", 0, 1, 500, layout, (12, 16)))
        noise = backbone.predict(z, torch.tensor(500), text, layout)
        control.check_fired()
    return noise


def test_frames_in_one_sequence_give_the_same_edits(toy):
    """A network whose frames only attend to themselves is the same with frames in the batch and in one sequence."""
    video = editor_of(ToyVideoDenoiser().eval())
    torch.manual_seed(1)
    clip = torch.randn(3, 4, 12, 16)
    temporal = SpatialTemporal((0,))
    apart = toy.invert(clip, SOURCE, num_inference_steps=STEPS, temporal=temporal, supplier="memory")
    joined = video.invert(clip, SOURCE, num_inference_steps=STEPS, supplier="memory")
    torch.testing.assert_close(apart.latents, joined.latents, atol=1e-4, rtol=1e-3)
    methods = [
        Ddim(),
        FateZero(blend_words=("jeep", "car"), latent_blend_steps=1.0, fresh_noise=0.5, region_guidance=True),
        MasaCtrl(steps=(0.0, 1.0)),
        Fame(people=(Person("jeep", "car", "female"),), cross_modulation=0.7, alpha=0.6),
        PlugAndPlay(feature_layer="unpatch", feature_steps=0.0),
    ]
    for method in methods:
        a, b = edit(toy, apart, method), edit(video, joined, method)
        assert (a - b).abs().max() < 1e-3 * a.abs().max(), method.name


def test_what_needs_frames_in_the_batch_says_so():
    video = editor_of(ToyVideoDenoiser().eval())
    inversion = video.invert(torch.randn(3, 4, 8, 8), SOURCE, num_inference_steps=2)
    with pytest.raises(AttentionError, match="TokenPropagation needs a network whose frames are batch entries"):
        edit(video, inversion, TokenFlow(interval=2, feature_layer="unpatch"))
    with pytest.raises(ConfigError, match="all frames of a ToyVideoDenoiser see each other"):
        video.invert(torch.randn(3, 4, 8, 8), SOURCE, num_inference_steps=2, temporal=SpatialTemporal((0, "first")))


def test_a_network_without_features_to_inject_is_named(toy, inversion):
    with pytest.raises(AttentionError, match=r"plug-and-play injects the output of a block.*give feature_layer"):
        edit(toy, inversion, PlugAndPlay())
    with pytest.raises(AttentionError, match=r"ToyDenoiser has no submodule 'nowhere': .*unpatch"):
        edit(toy, inversion, PlugAndPlay(feature_layer="nowhere"))


@pytest.mark.parametrize("supplier", ["memory", "live"])
def test_a_network_of_fine_layers_alone_has_no_attention_to_fuse(supplier):
    class FineBackbone(ToyBackbone):
        def layers(self):
            return {name: Layer(name, layer.kind, CHANNELS, HEADS) for name, layer in super().layers().items()}

        def predict(self, z, timestep, text, layout):
            x = F.interpolate(z, scale_factor=2)
            return F.avg_pool2d(self.network(x, timestep, text), 2)

    class FineDenoiser(ToyDenoiser):
        pass

    register_backbone("FineDenoiser")(FineBackbone)
    editor = editor_of(FineDenoiser().eval())
    inversion = editor.invert(torch.randn(2, 4, 8, 8), SOURCE, num_inference_steps=2, supplier=supplier)
    assert torch.isfinite(edit(editor, inversion, Ddim())).all()
    with pytest.raises(AttentionError, match="no attention layer whose grid is at most half the latent grid"):
        edit(editor, inversion, FateZero())


def test_a_shadow_has_shapes_and_no_data(toy):
    shadow = backbone_of(toy.unet).shadow()
    assert type(shadow) is ToyBackbone
    assert {p.device.type for p in shadow.network.parameters()} == {"meta"}
    assert {p.device.type for p in toy.unet.parameters()} == {"cpu"}


def tiny_pixart():
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        num_attention_heads=1, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=1,
        cross_attention_dim=8, sample_size=8, caption_channels=8,
    )  # fmt: skip


def tiny_flux():
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=1,
        joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip


@pytest.mark.parametrize("make", [tiny_pixart, tiny_flux])
def test_a_network_without_adapter_gets_one_line(make):
    network = make()
    with pytest.raises(ModelError) as caught:
        editor_of(network)
    message = str(caught.value)
    assert type(network).__name__ in message
    assert "UNet2DConditionModel" in message
    assert "add-a-model.md" in message
    assert "\n" not in message


def test_a_folder_of_another_pipeline_gets_one_line(tmp_path):
    index = {
        "_class_name": "PixArtAlphaPipeline", "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"], "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "PixArtTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
    }  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError) as caught:
        VideoEditor.from_pretrained(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert "Stable Diffusion" in message


def test_the_registry_names_what_can_be_edited():
    assert {"UNet2DConditionModel", "ToyDenoiser"} <= set(backbone_names())
    assert type(backbone_of(make_editor().unet)).__name__ == "UNetBackbone"


def test_tuning_another_network_gets_one_line(toy, tmp_path):
    from faircut.tune import tune
    from faircut.video import Video

    with pytest.raises(ModelError, match=r"tuning adds temporal layers to a UNet2DConditionModel.*a ToyDenoiser"):
        tune(toy, Video(torch.zeros(2, 3, 16, 16), torch.tensor([0.0, 0.5]), 1.0), SOURCE, tmp_path / "tuned")
