"""Atlases: fitted, put together again, painted on, edited, saved."""

import json

import pytest
import torch
import torch.nn.functional as F

from faircut import EditRequest, Session
from faircut.atlas import Atlas, AtlasSettings, edit_atlas, fit_atlas
from faircut.atlas.edit import keep_detail
from faircut.atlas.layers import Canvas, look_up, over, push_pull, splat, spread
from faircut.atlas.losses import flow_loss, rigidity_loss
from faircut.atlas.motion import moving_mask, to_reference
from faircut.config.values import from_dict
from faircut.errors import ConfigError, VideoError
from faircut.methods import FateZero
from faircut.metrics import optical_flow

SIZE, SIDE, COUNT, STEP = (40, 56), 14, 4, 5
TOP, LEFT = 13, 10


def texture(seed: int, height: int, width: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, -(-height // 4), -(-width // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1) * 1.6 - 0.8


@pytest.fixture(scope="module")
def moving() -> tuple[torch.Tensor, torch.Tensor]:
    """A textured square that goes to the right by 5 pixels a frame, over a textured background that pans to the
    left."""
    wide, square = texture(0, SIZE[0], SIZE[1] + COUNT), texture(1, SIDE, SIDE)
    frames = torch.stack([wide[:, :, t : t + SIZE[1]] for t in range(COUNT)])
    masks = torch.zeros(COUNT, *SIZE, dtype=torch.bool)
    for t in range(COUNT):
        left = LEFT + STEP * t
        frames[t, :, TOP : TOP + SIDE, left : left + SIDE] = square
        masks[t, TOP : TOP + SIDE, left : left + SIDE] = True
    return frames, masks


@pytest.fixture(scope="module")
def fitted(moving) -> Atlas:
    return fit_atlas(*moving, AtlasSettings(steps=80))


def test_a_square_over_a_background_comes_back(fitted, moving):
    error = ((fitted.render() - moving[0]) / 2).square().mean()
    assert -10 * error.log10() > 33
    assert fitted.report["psnr"] == pytest.approx(float(-10 * error.log10()), abs=0.01)
    assert ((fitted.alpha > 0.5) == moving[1]).float().mean() > 0.98


def test_the_background_continues_beyond_the_frame(fitted):
    # It pans by one pixel a frame, and the margins are two at each side.
    canvas = fitted.layers["background"].canvas
    assert SIZE[1] + COUNT - 1 <= canvas.width <= SIZE[1] + COUNT - 1 + 6
    assert fitted.layers["foreground"].canvas.width < SIZE[1]


@pytest.mark.parametrize(
    ("layer", "place", "steps"), [("foreground", (18, 17), (STEP, 0)), ("background", (30, 4), (-1, 0))]
)
def test_a_dot_on_the_atlas_shows_where_it_belongs_in_every_frame(fitted, layer, place, steps):
    """The dot is painted where the place (x, y) of the first frame looks."""
    picture = fitted.pictures()[layer]
    u, v = fitted.places(layer)[0, place[1], place[0]].tolist()
    column, row = round((u + 1) / 2 * picture.shape[2] - 0.5), round((v + 1) / 2 * picture.shape[1] - 0.5)
    painted = picture.clone()
    painted[:, row - 1 : row + 2, column - 1 : column + 2] = -1.0
    change = (fitted.compose({layer: painted}) - fitted.render()).abs().sum(1)
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    for t in range(COUNT):
        weight = change[t] / change[t].sum()
        assert float((weight * x).sum()) == pytest.approx(place[0] + steps[0] * t, abs=1)
        assert float((weight * y).sum()) == pytest.approx(place[1] + steps[1] * t, abs=1)


def test_untouched_pictures_compose_to_the_rendering(fitted):
    assert torch.equal(fitted.compose(fitted.pictures()), fitted.render())
    larger = fitted.pictures(tuple(3 * side for side in fitted.layers["background"].picture.shape[1:]))["background"]
    assert (fitted.compose({"background": larger}) - fitted.render()).abs().mean() < 0.05


def test_an_atlas_is_saved_whole_and_loaded_equal(fitted, tmp_path):
    back = Atlas.load(fitted.save(tmp_path / "clip.atlas"))
    assert torch.equal(back.render(), fitted.render())
    assert (back.settings, back.reference, dict(back.report)) == (
        fitted.settings,
        fitted.reference,
        dict(fitted.report),
    )
    assert (back.video.times, back.video.duration) == (fitted.video.times, fitted.video.duration)
    assert (back.video.frames - fitted.video.frames).abs().max() <= 1 / 127.5
    assert [path.name for path in tmp_path.iterdir()] == ["clip.atlas"]
    (tmp_path / "clip.atlas" / "atlas.safetensors").write_bytes(b"half of it")
    with pytest.raises(ConfigError, match="a readable atlas"):
        Atlas.load(tmp_path / "clip.atlas")


def test_the_same_seed_gives_the_same_atlas(moving):
    def fit(seed: int) -> Atlas:
        return fit_atlas(*moving, AtlasSettings(steps=3, frames_per_step=2, seed=seed))

    first, again, other = fit(3), fit(3), fit(0)
    assert torch.equal(first.alpha, again.alpha)
    assert all(
        torch.equal(a.picture, b.picture) for a, b in zip(first.layers.values(), again.layers.values(), strict=True)
    )
    assert not torch.equal(first.alpha, other.alpha)


def test_what_cannot_be_used_is_named(fitted, moving):
    frames, masks = moving
    with pytest.raises(VideoError, match=r"masks of shape \(3, 40, 56\).*\(4, 40, 56\)"):
        fit_atlas(frames, masks[:3])
    with pytest.raises(VideoError, match="outside 0 to 1"):
        fit_atlas(frames, masks * 255.0)
    with pytest.raises(ConfigError, match="no layer 'foregruond': did you mean 'foreground'"):
        fitted.compose({"foregruond": fitted.pictures()["foreground"]})
    with pytest.raises(VideoError, match=r"\(1, 4, 4\)"):
        fitted.compose({"foreground": torch.zeros(1, 4, 4)})
    with pytest.raises(ConfigError, match="steps is 0"):
        AtlasSettings(steps=0)
    with pytest.raises(ConfigError, match="no setting 'stepz'"):
        from_dict(AtlasSettings, {"stepz": 3})


def test_without_masks_what_moves_on_its_own_is_the_foreground(moving):
    frames, masks = moving
    flow = torch.tensor([-1.0, 0.0]).expand(COUNT - 1, *SIZE, 2).clone()
    flow[masks[:-1]] = torch.tensor([float(STEP), 0.0])
    found = moving_mask(frames, flow)
    assert torch.equal(found[:-1], masks[:-1])
    assert torch.equal(found[-1], masks[-2])
    assert fit_atlas(frames, None, AtlasSettings(steps=1)).alpha.shape == masks.shape


def test_motion_is_chained_to_the_reference(moving):
    frames, masks = moving
    moves = to_reference(frames, optical_flow((frames + 1) / 2), masks, 2)
    expected = torch.tensor([10.0, 5.0, 0.0, -5.0], dtype=torch.float64)
    centre = torch.tensor([20.0, 20.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close((moves @ centre)[:, 0] - 20, expected, atol=1.0, rtol=0)


def test_splatting_is_the_adjoint_of_looking_up():
    torch.manual_seed(0)
    canvas, places = Canvas(-0.5, -0.5, 5.0, 6.0), torch.rand(2, 3, 4, 2) * 4
    picture, values = torch.randn(3, 5, 6), torch.randn(2, 3, 3, 4)
    left = (look_up(picture, places, canvas) * values).sum()
    torch.testing.assert_close(left, (picture * splat(values, places, canvas, (5, 6))).sum())


def test_holes_are_filled_and_what_is_known_stays():
    known = torch.ones(1, 16, 16)
    known[:, 4:12, 4:12] = 0
    colour = torch.full((3, 16, 16), 0.7)
    torch.testing.assert_close(over(push_pull(colour * known, known)), colour)


def test_losses_know_rigid_motion_and_flow():
    y, x = torch.meshgrid(torch.linspace(0, 20, 3), torch.linspace(0, 30, 4), indexing="ij")
    still = torch.stack([x, y])
    turned = torch.stack([0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y])
    assert rigidity_loss(torch.stack([still, turned]), (21, 31)) == pytest.approx(0, abs=0.01)
    assert rigidity_loss(torch.stack([still * 2]), (21, 31)) > 1
    # A picture that moves by 3 pixels: the next frame's pixel there must look at the same place.
    moved = torch.stack([still, still - torch.tensor([3.0, 0.0])[:, None, None]])
    places, everywhere = spread(moved, (21, 31)), torch.ones(1, 21, 31, dtype=torch.bool)
    everywhere[..., -3:] = False
    flow = torch.tensor([3.0, 0.0]).expand(1, 21, 31, 2)
    assert flow_loss(places, torch.ones(2, 21, 31), flow, everywhere) == pytest.approx(0, abs=0.01)
    assert flow_loss(places, torch.ones(2, 21, 31), torch.zeros_like(flow), everywhere) > 2


def test_detail_is_kept_where_nothing_changed():
    source, base = torch.zeros(3, 64, 64), torch.full((3, 64, 64), 0.05)
    edited = base.clone()
    edited[:, :20] = 0.9
    kept = keep_detail(edited, base, source)
    assert torch.equal(kept[:, 40:], source[:, 40:])
    torch.testing.assert_close(kept[:, :20], edited[:, :20], atol=1e-3, rtol=0)


@pytest.mark.parametrize("layer", ["foreground", "background"])
def test_an_edit_touches_its_layer_alone(editor, fitted, layer):
    method = FateZero(self_replace_steps=0.0, cross_replace_steps=0.0)
    prompts = "a silver jeep driving down a road", "a silver car driving down a road"
    request, session = EditRequest(*prompts, method, num_inference_steps=2), Session(editor)
    result = edit_atlas(session, fitted, request, layer=layer)
    other = "background" if layer == "foreground" else "foreground"
    assert torch.equal(result.pictures[other], fitted.pictures()[other])
    assert not torch.equal(result.pictures[layer], fitted.pictures()[layer])
    alone = fitted.alpha if layer == "background" else 1 - fitted.alpha
    same = (result.video.frames - fitted.video.frames).abs().amax(1)[alone == 1]
    assert len(same) == 0 or same.max() < 1e-3
    assert (result.report["layer"], result.report["atlas"]) == (layer, dict(fitted.report))
    with pytest.raises(ConfigError, match="no layer 'sky'"):
        edit_atlas(session, fitted, request, layer="sky")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 7}, "has format 7"),
        ({"times": ["1e999999999"]}, r"times\[0\] is '1e999999999'; give a Fraction"),
        ({"duration": "1/0"}, "duration is '1/0'"),
        ({"reference": 99}, "the reference frame is 99"),
        ({"canvases": {}}, "foreground"),
        ({"canvases": {"foreground": [1, 2, 3, 4]}}, r"canvases\.foreground is"),
        ({"settings": {"steps": "many"}}, r"settings\.steps is 'many'"),
        ({"extra": 1}, "no setting 'extra'"),
    ],
)
def test_an_atlas_whose_notes_were_changed_is_refused(fitted, tmp_path, change, match):
    folder = fitted.save(tmp_path / "a")
    notes = folder / "atlas.json"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | change))
    with pytest.raises(ConfigError, match=f"a readable atlas .*{match}"):
        Atlas.load(folder)
