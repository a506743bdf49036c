"""The modulations: bounded, gentle, and nothing at zero."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faircut.attention.context import AttentionContext, BatchLayout, Layer, Step
from faircut.attention.controller import QKV, Where
from faircut.config.values import SpatialTemporal
from faircut.controllers.fairness import RegionConditioning
from faircut.controllers.layout import CrossModulation, TemporalModulation, modulate, strength
from faircut.controllers.regions import FixedRegion

FRAMES, SIDE = 3, 4
MASK = torch.zeros(FRAMES, SIDE, SIDE)
MASK[:, 1:3, 1:3] = 1
REGION = FixedRegion(MASK)
INSIDE = MASK.flatten(1).bool()


def context(kind, timestep=999, branches=("cond",)):
    layout = BatchLayout(branches, FRAMES)
    step = Step("denoise", 0, 4, timestep, layout, (2 * SIDE, 2 * SIDE))
    return AttentionContext(Layer("l", kind, 8, 2, (1, 2, 2), decoder=True), step, layout)


def scores(keys, seed=0, spread=3.0):
    return spread * torch.randn(FRAMES, 2, SIDE * SIDE, keys, generator=torch.Generator().manual_seed(seed))


@given(
    amount=st.floats(0, 1), spread=st.floats(0, 1e4), seed=st.integers(0, 20),
    weight=st.floats(0, 1), constant=st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_rows_stay_within_their_range(amount, spread, seed, weight, constant):
    x = torch.full((2, 3, 5), spread) if constant else spread * torch.randn(2, 3, 5)
    inside = torch.randint(0, 2, (2, 3, 5), generator=torch.Generator().manual_seed(seed)).float()
    out = modulate(x, inside, torch.tensor(weight), torch.tensor(amount))
    assert out.isfinite().all()
    slack = 1e-5 * (1 + spread)
    assert (out <= x.amax(-1, keepdim=True) + slack).all()
    assert (out >= x.amin(-1, keepdim=True) - slack).all()
    if amount == 0:
        assert torch.equal(out, x)


def test_full_strength_puts_every_key_at_an_end():
    x = torch.tensor([[1.0, 2.0, 4.0]])
    out = modulate(x, torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor(1.0), torch.tensor(1.0))
    assert out.tolist() == [[4.0, 1.0, 4.0]]


def test_strength_fades_with_the_fifth_power():
    assert strength(1000, 0.3) == pytest.approx(0.3)
    assert strength(500, 0.3) == pytest.approx(0.3 / 32)


class TestTemporal:
    def make(self, base=0.3, tau=float("inf"), frames=("middle",)):
        return TemporalModulation(REGION, base, tau, SpatialTemporal(frames=frames), FRAMES, Where(kind="self"))

    def test_is_the_formula(self):
        x = scores(2 * SIDE * SIDE)
        made = self.make(tau=1.5, frames=(0, "middle"))
        out = made.on_scores(context("self", 900), x, slice(0, SIDE * SIDE))
        share = INSIDE.float().mean()
        amount = 0.3 * 0.9**5 * (1 - share)
        for f in range(FRAMES):
            for q in range(SIDE * SIDE):
                for n, key_frame in enumerate((f, 1)):
                    for k in range(SIDE * SIDE):
                        row, value = x[f, 1, q], x[f, 1, q, n * SIDE * SIDE + k]
                        wanted = value
                        if INSIDE[f, q] and INSIDE[key_frame, k]:
                            decay = torch.exp(torch.tensor(-abs(f - key_frame) / 1.5))
                            wanted = value + amount * decay * (row.max() - value)
                        elif INSIDE[f, q]:
                            wanted = value - amount * (value - row.min())
                        assert out[f, 1, q, n * SIDE * SIDE + k].item() == pytest.approx(wanted.item(), abs=1e-5)

    def test_blocks_of_queries_are_the_whole(self):
        x, made = scores(SIDE * SIDE), self.make()
        whole = made.on_scores(context("self"), x, slice(0, SIDE * SIDE))
        parts = [made.on_scores(context("self"), x[:, :, at : at + 5], slice(at, at + 5)) for at in range(0, 15, 5)]
        torch.testing.assert_close(torch.cat(parts, 2), whole[:, :, :15])

    def test_applies_only_while_it_matters_and_where_frames_meet(self):
        assert self.make().applies(context("self", 999))
        assert not self.make().applies(context("self", 200))
        assert not self.make().applies(context("cross", 999))
        assert not self.make(base=0.0).applies(context("self", 999))


class TestCross:
    described = torch.tensor([-1, 0, 1, -1, 0])

    def make(self, base=1.0):
        other = FixedRegion(torch.roll(MASK, 2, 2) * (1 - MASK))
        weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])
        return CrossModulation([REGION, other], base, self.described, weights, ("cond",), Where(kind="cross"))

    def test_words_of_nobody_are_left_alone(self):
        x = scores(5)
        out = self.make().on_scores(context("cross"), x, slice(0, SIDE * SIDE))
        assert torch.equal(out[..., self.described < 0], x[..., self.described < 0])

    def test_own_words_rise_and_others_words_fall(self):
        x = scores(5)
        out = self.make().on_scores(context("cross"), x, slice(0, SIDE * SIDE))
        change = (out - x).mean(1)
        own = change[..., [1, 4]]
        assert (own[INSIDE] >= 0).all()
        assert own[INSIDE].max() > 0.1
        assert (own[~INSIDE] <= 0).all()
        assert (change[..., 2][INSIDE] <= 0).all()

    def test_keys_behind_its_own_say_nothing(self):
        x = scores(7)
        x[..., 5:] = 1e6
        out = self.make().on_scores(context("cross"), x, slice(0, SIDE * SIDE))
        assert torch.equal(out[..., 5:], x[..., 5:])
        assert out[..., :5].abs().max() < 100


class TestConditioning:
    def make(self, keys, log_weights=None, region=REGION):
        generator = torch.Generator().manual_seed(5)
        own = tuple(torch.randn(1, 2, keys, 4, generator=generator) for _ in range(2))
        return RegionConditioning(
            "person-0", region, {"l": own}, torch.zeros(keys) if log_weights is None else log_weights
        )

    def attend(self, made, keys=6):
        generator = torch.Generator().manual_seed(6)
        branches = ("uncond", "cond")
        batch = 2 * FRAMES
        qkv = QKV(
            torch.randn(batch, 2, SIDE * SIDE, 4, generator=generator),
            *(torch.randn(batch, 2, keys, 4, generator=generator) for _ in range(2)),
        )
        before = context("cross", branches=branches)
        after, more = made.on_qkv(before, qkv)
        assert after.layout.branches == (*branches, "person-0")
        sdpa = torch.nn.functional.scaled_dot_product_attention
        out = sdpa(more.query, more.key, more.value, attn_mask=more.bias)
        back, merged = made.on_output(after, out)
        assert back == before
        plain = sdpa(qkv.query, qkv.key, qkv.value)
        key, value = (x.expand(FRAMES, -1, -1, -1) for x in made.keys["l"])
        own = sdpa(qkv.query[FRAMES:], key, value, attn_mask=made.log_weights[None, None, None])
        return plain, own, merged

    @pytest.mark.parametrize("keys", [4, 6, 9])
    def test_inside_is_the_persons_and_outside_the_prompts(self, keys):
        weights = torch.tensor([0.0, -1.0, *[0.0] * (keys - 2)])
        plain, own, merged = self.attend(self.make(keys, weights))
        torch.testing.assert_close(merged[:FRAMES], plain[:FRAMES])
        inside = INSIDE[:, None, :, None]
        torch.testing.assert_close(merged[FRAMES:], torch.where(inside, own, plain[FRAMES:]))

    def test_equal_lengths_without_weights_need_no_bias(self):
        generator = torch.Generator().manual_seed(0)
        qkv = QKV(*(torch.randn(FRAMES, 2, n, 4, generator=generator) for n in (SIDE * SIDE, 6, 6)))
        assert self.make(6).on_qkv(context("cross"), qkv)[1].bias is None

    def test_soft_borders_mix(self):
        plain, own, merged = self.attend(self.make(6, region=FixedRegion(torch.full((FRAMES, SIDE, SIDE), 0.25))))
        torch.testing.assert_close(merged[FRAMES:], 0.75 * plain[FRAMES:] + 0.25 * own)
