"""The staged processor against plain attention with explicit maps, and against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faircut.attention.context import BatchLayout, Layer, Step
from faircut.attention.controller import Controller, Where
from faircut.attention.source import MemoryStore, RecordedSource, Recorder
from faircut.attention.stages import AttentionControl
from faircut.config.values import SpatialTemporal
from faircut.controllers.cross_attention import CrossAttentionFusion
from faircut.controllers.self_attention import SelfAttentionFusion
from faircut.controllers.spatial_temporal import SpatialTemporalAttention, frame_indices
from faircut.errors import AttentionError
from faircut.model.backbone import backbone_of
from faircut.model.norm import ClipGroupNorm
from faircut.model.unet import StagedAttnProcessor
from faircut.prompts import Alignment
from tests.conftest import make_unet

CPU = torch.device("cpu")


class Identity(Controller):
    """Asks to see everything and changes nothing."""

    where = Where(phases=("invert", "denoise"))
    branches = None

    def on_probs(self, context, probs, queries):
        assert torch.allclose(probs.sum(-1), torch.ones(()), atol=1e-5)
        return probs


def make_layer(kind, heads, dim, seed, depth=1, text_dim=None):
    torch.manual_seed(seed)
    attn = Attention(heads * dim, text_dim, heads=heads, dim_head=dim).eval()
    return attn, Layer(f"down_blocks.1.{kind}", kind, heads * dim, heads, (1, 2**depth, 2**depth))


def make_step(branches, frames, grid, phase="denoise", index=0, count=4):
    return Step(phase, index, count, 500, BatchLayout(branches, frames), (grid[0] * 2, grid[1] * 2))


def run(attn, layer, controllers, step, x, text=None, block_elements=2**26):
    control = AttentionControl(tuple(controllers), block_elements, {layer.name: layer})
    attn.set_processor(StagedAttnProcessor(layer, control))
    control.begin(step)
    with torch.no_grad():
        return attn(x, encoder_hidden_states=text)


def project(attn, x, text=None):
    text = x if text is None else text
    return [
        p(v).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        for p, v in ((attn.to_q, x), (attn.to_k, text), (attn.to_v, text))
    ]


def output(attn, probs, value):
    return attn.to_out[0]((probs @ value).transpose(1, 2).flatten(2))


def gather(x, frames):
    """Keys of the listed frames side by side, one frame and one list entry at a time."""
    rows = frame_indices(frames, len(x)).tolist()
    return torch.stack([torch.cat([x[i] for i in row], dim=1) for row in rows])


shapes = st.fixed_dictionaries(
    {
        "frames": st.integers(1, 4),
        "grid": st.tuples(st.integers(1, 5), st.integers(1, 5)),
        "heads": st.integers(1, 3),
        "dim": st.sampled_from([4, 8, 16]),
        "seed": st.integers(0, 1000),
    }
)
key_frames = st.lists(st.sampled_from([0, -1, 1, 2, "first", "middle", "last"]), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(shapes, st.integers(1, 400))
def test_explicit_blocks_equal_fused_attention(shape, block_elements):
    attn, layer = make_layer("self", shape["heads"], shape["dim"], shape["seed"])
    step = make_step(("uncond", "cond"), shape["frames"], shape["grid"])
    x = torch.randn(2 * shape["frames"], shape["grid"][0] * shape["grid"][1], shape["heads"] * shape["dim"])
    attn.set_processor(AttnProcessor2_0())
    expected = attn(x)
    assert torch.equal(run(attn, layer, [], step, x), expected)
    torch.testing.assert_close(
        run(attn, layer, [Identity()], step, x, None, block_elements), expected, atol=1e-5, rtol=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(shapes, key_frames)
def test_spatial_temporal_attention_equals_explicit_maps(shape, frames):
    attn, layer = make_layer("self", shape["heads"], shape["dim"], shape["seed"])
    step = make_step(("uncond", "cond"), shape["frames"], shape["grid"])
    x = torch.randn(2 * shape["frames"], shape["grid"][0] * shape["grid"][1], shape["heads"] * shape["dim"])
    controller = SpatialTemporalAttention(SpatialTemporal(tuple(frames)), shape["frames"])
    ours = run(attn, layer, [controller], step, x)
    for part in (step.layout.slice("uncond"), step.layout.slice("cond")):
        q, k, v = project(attn, x[part])
        probs = (q @ gather(k, frames).transpose(-1, -2) * shape["dim"] ** -0.5).softmax(-1)
        torch.testing.assert_close(ours[part], output(attn, probs, gather(v, frames)), atol=1e-5, rtol=1e-5)


class FixedRegion:
    def __init__(self, mask):
        self._mask = mask

    def mask(self, grid):
        assert self._mask.shape[1:] == grid
        return self._mask


def recorded(attn, layer, x, text=None, controllers=(), grid=None):
    """Record a source pass, as inversion does."""
    store = MemoryStore()
    step = make_step(("source",), len(x), grid, phase="invert")
    run(attn, layer, [Recorder(store), *controllers], step, x, text)
    source = RecordedSource(store, CPU)
    source.advance(0)
    return source


@settings(max_examples=25, deadline=None)
@given(shapes, key_frames, st.booleans())
def test_self_attention_fusion_equals_explicit_maps(shape, frames, masked):
    attn, layer = make_layer("self", shape["heads"], shape["dim"], shape["seed"])
    count, grid, width = shape["frames"], shape["grid"], shape["heads"] * shape["dim"]
    positions = grid[0] * grid[1]
    temporal = SpatialTemporalAttention(SpatialTemporal(tuple(frames)), count)
    x_source, x = torch.randn(count, positions, width), torch.randn(2 * count, positions, width)
    source = recorded(attn, layer, x_source, controllers=[temporal], grid=grid)
    mask = torch.rand(count, *grid) > 0.5
    fusion = SelfAttentionFusion(source, range(1), FixedRegion(mask) if masked else None)
    step = make_step(("uncond", "cond"), count, grid)
    ours = run(attn, layer, [fusion, temporal], step, x)

    def probs(q, k):
        return (q @ gather(k, frames).transpose(-1, -2) * shape["dim"] ** -0.5).softmax(-1)

    q, k, v = project(attn, x[count:])
    q_source, k_source, _ = project(attn, x_source)
    m = mask.flatten(1)[:, None, :, None].float() if masked else 0.0
    fused = m * probs(q, k) + (1 - m) * probs(q_source, k_source)
    torch.testing.assert_close(ours[count:], output(attn, fused, gather(v, frames)), atol=1e-5, rtol=1e-5)
    alone = run(attn, layer, [temporal], step, x)
    assert torch.equal(ours[:count], alone[:count])  # the unconditional branch is left alone


@settings(max_examples=25, deadline=None)
@given(shapes, st.integers(1, 200))
def test_cross_attention_fusion_equals_explicit_maps(shape, block_elements):
    attn, layer = make_layer("cross", shape["heads"], shape["dim"], shape["seed"], text_dim=6)
    count, grid, width, tokens = shape["frames"], shape["grid"], shape["heads"] * shape["dim"], 7
    positions = grid[0] * grid[1]
    x_source, x = torch.randn(count, positions, width), torch.randn(2 * count, positions, width)
    text_source, text = torch.randn(1, tokens, 6), torch.randn(2 * count, tokens, 6)
    text_source = text_source.expand(count, -1, -1)
    source = recorded(attn, layer, x_source, text_source, grid=grid)
    mapper, aligned = torch.rand(tokens, tokens), (torch.rand(tokens) > 0.4).float()
    weights, factors = (torch.rand(4, tokens) > 0.3).float(), torch.rand(tokens) * 3
    weights[0, 0] = 1.0
    alignment = Alignment(None, None, "refine", mapper, aligned)
    fusion = CrossAttentionFusion(source, alignment, weights, factors)
    step = make_step(("uncond", "cond"), count, grid)
    ours = run(attn, layer, [fusion], step, x, text, block_elements)

    def probs(q, k):
        return (q @ k.transpose(-1, -2) * shape["dim"] ** -0.5).softmax(-1)

    q, k, v = project(attn, x[count:], text[count:])
    q_source, k_source, _ = project(attn, x_source, text_source)
    own = probs(q, k)
    fused = (probs(q_source, k_source) @ mapper * aligned + own * (1 - aligned)) * factors
    fused = weights[0] * fused + (1 - weights[0]) * own
    torch.testing.assert_close(ours[count:], output(attn, fused, v), atol=1e-5, rtol=1e-5)
    assert torch.equal(ours[:count], run(attn, layer, [], step, x, text)[:count])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 100))
def test_clip_norm_is_a_group_norm_over_the_whole_clip(frames, clips, per_group, seed):
    torch.manual_seed(seed)
    norm = nn.GroupNorm(2, 2 * per_group)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(clips * frames, 2 * per_group, 3, 5) * 3 + 1
    folded = x.unflatten(0, (clips, frames)).transpose(1, 2).flatten(2, 3)
    expected = norm(folded).unflatten(2, (frames, 3)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(ClipGroupNorm(norm, frames)(x), expected, atol=1e-5, rtol=1e-5)


def test_frame_indices():
    assert frame_indices((0, -1, "middle"), 4).tolist() == [[0, 0, 1], [1, 0, 1], [2, 1, 1], [3, 2, 1]]
    assert frame_indices(("first", "last", 2), 3).tolist() == [[0, 2, 2], [0, 2, 2], [0, 2, 2]]
    assert frame_indices((0, "middle"), 1).tolist() == [[0, 0]]


def test_narrow_layers_attend_within_their_own_frame():
    attn, layer = make_layer("self", 2, 4, 0)
    step, x = make_step(("cond",), 3, (2, 2)), torch.randn(3, 4, 8)
    plain = run(attn, layer, [], step, x)
    wide = SpatialTemporalAttention(SpatialTemporal(("middle",), least_channels=9), 3)
    assert torch.equal(run(attn, layer, [wide], step, x), plain)
    fits = SpatialTemporalAttention(SpatialTemporal(("middle",), least_channels=8), 3)
    assert not torch.allclose(run(attn, layer, [fits], step, x), plain)


# A whole UNet --------------------------------------------------------------------------------------------------------


def forward(unet, z, text):
    with torch.no_grad():
        return unet(z, torch.tensor(500), encoder_hidden_states=text).sample


@pytest.mark.parametrize("grid", [(16, 16), (15, 9), (5, 12)])
def test_without_controllers_a_unet_computes_what_diffusers_does(grid):
    unet = make_unet()
    z, text = torch.randn(2, 4, *grid), torch.randn(2, 77, 16)
    expected = forward(unet, z, text)
    with backbone_of(unet).install([], frames=1) as control:
        control.begin(Step("denoise", 0, 1, 500, BatchLayout(("uncond", "cond"), 1), grid))
        assert torch.equal(forward(unet, z, text), expected)
        control.check_fired()


def test_layers_know_their_grid_at_odd_sizes():
    unet, seen = make_unet(), {}

    class Watch(Identity):
        def on_qkv(self, context, qkv):
            height, width = context.grid
            assert qkv.query.shape[2] == height * width
            seen[context.layer.name] = (context.grid, context.layer.patch)
            return context, qkv

    with backbone_of(unet).install([Watch()], frames=1) as control:
        control.begin(Step("denoise", 0, 1, 500, BatchLayout(("cond",), 1), (15, 9)))
        forward(unet, torch.randn(1, 4, 15, 9), torch.randn(1, 77, 16))
    assert list(seen) == list(backbone_of(unet).layers())  # the order in which they run
    assert set(seen.values()) == {((15, 9), (1, 1, 1)), ((8, 5), (1, 2, 2)), ((4, 3), (1, 4, 4))}


def test_everything_is_restored_after_an_exception():
    unet = make_unet()
    unet.set_attn_processor(AttnProcessor())
    before, keys = dict(unet.attn_processors), list(unet.state_dict())
    modules = [id(m) for m in unet.modules()]
    with pytest.raises(KeyboardInterrupt), backbone_of(unet).install([], frames=2):  # noqa: PT012
        assert list(unet.state_dict()) == keys
        assert [id(m) for m in unet.modules()] != modules
        raise KeyboardInterrupt
    assert dict(unet.attn_processors) == before
    assert [id(m) for m in unet.modules()] == modules


def test_calls_that_were_not_announced_are_refused():
    unet, text = make_unet(), torch.randn(2, 77, 16)
    with backbone_of(unet).install([], frames=1) as control:
        with pytest.raises(AttentionError, match="before a step began"):
            forward(unet, torch.randn(2, 4, 16, 16), text)
        control.begin(Step("denoise", 0, 1, 500, BatchLayout(("cond",), 1), (16, 16)))
        with pytest.raises(AttentionError, match="batch of 2, but 1 were announced"):
            forward(unet, torch.randn(2, 4, 16, 16), text)
        with pytest.raises(AttentionError, match=r"got 64 positions, .* 16 x 16"):
            forward(unet, torch.randn(1, 4, 8, 8), text[:1])


def test_a_layer_that_did_not_fire_is_named():
    unet = make_unet()
    with backbone_of(unet).install([], frames=1) as control:
        control.begin(Step("denoise", 0, 1, 500, BatchLayout(("cond",), 1), (16, 16)))
        unet.mid_block.attentions[0].transformer_blocks[0].attn1.set_processor(AttnProcessor2_0())
        forward(unet, torch.randn(1, 4, 16, 16), torch.randn(1, 77, 16))
        with pytest.raises(AttentionError, match=r"1 attention layer\(s\) ran without .*mid_block.*attn1"):
            control.check_fired()


def test_processors_with_state_of_their_own_are_not_thrown_away():
    unet = make_unet()

    class Adapter(nn.Module):
        pass

    name = next(iter(unet.attn_processors))
    unet.get_submodule(name.removesuffix(".processor")).processor = Adapter()
    with pytest.raises(AttentionError, match="Adapter, which has weights"), backbone_of(unet).install([], frames=1):
        pass


def test_an_unconditional_unet_is_refused():
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, cross_attention_dim=8, layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, mid_block_type=None,
    )  # fmt: skip
    with pytest.raises(AttentionError, match="no cross-attention"):
        backbone_of(unet).layers()
