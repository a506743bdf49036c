"""Benchmarks of edits: task files and layouts, the runner and its results, on the pocket model where pictures
matter."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import yaml

from faircut import VideoEditor
from faircut.benchmark.edits.contestants import CONTESTANTS, get_contestants
from faircut.benchmark.edits.html import plot_agreement, plot_frames, write_html
from faircut.benchmark.edits.items import EditItem
from faircut.benchmark.edits.jobs import BenchRecord, run_bench
from faircut.benchmark.edits.leaderboard import (
    BenchResult,
    compare,
    load_leaderboard,
    markdown,
    markdown_pairs,
    ranked,
    summarise,
)
from faircut.benchmark.edits.prepared import Bench
from faircut.benchmark.edits.task_files import load_edits, pocket_edit, to_yaml
from faircut.benchmark.results import write_result
from faircut.benchmark.settings import BenchRun
from faircut.benchmark.store import Store
from faircut.edit.session import Session
from faircut.errors import ConfigError, DamagedFileWarning, NumericalError, VideoError
from faircut.evaluate import metrics_of
from faircut.files.cache import Cache
from faircut.model.checkpoints import pocket_folder
from faircut.model.scorer import load_clip_scorer
from faircut.pocket.edit_cases import edit_cases
from faircut.pocket.judge import load_judge
from faircut.video import Video, write_video

SQUARES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


@contextmanager
def silent(name, total):
    yield lambda: None


@pytest.fixture(scope="module")
def bench(pocket_editor):
    judge = load_judge(pocket_folder() / "judge")
    return Bench(Session(pocket_editor), load_clip_scorer("auto"), judge, steps=4, seed=0)


# Task files -----------------------------------------------------------------------------------------------------------


def test_the_shipped_list_is_that_of_the_pocket_models_figures():
    shipped = load_edits("pocket-edit")
    assert [item.drawn.case(item.kind) for item in shipped.items] == edit_cases()
    assert replace(shipped, folder=".", hash="") == pocket_edit()
    assert len(shipped.hash) == 32
    assert [item.kind for item in shipped.limited(6).items] == [
        "colour", "object", "profession", "background", "style", "colour"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="give 1 to 66"):
        shipped.limited(67)


def test_a_drawn_clip_knows_what_may_change():
    shipped = load_edits("pocket-edit")
    local, whole = (next(i for i in shipped.items if i.kind == kind) for kind in ("object", "style"))
    clip = shipped.load(local)
    assert clip.frames.shape == (8, 3, 128, 128)
    assert clip.region.shape == (8, 128, 128)
    assert bool((clip.region & torch.from_numpy(clip.drawn.masks[:, 0])).any((1, 2)).all())
    assert bool((clip.region.sum((1, 2)) > torch.from_numpy(clip.drawn.masks[:, 0]).sum((1, 2))).any())
    assert shipped.load(whole).region is None


def test_a_task_file_of_ones_own(tmp_path):
    write_video(Video.from_frames(SQUARES), tmp_path / "jeep.mp4")
    write_video(Video.from_frames(torch.ones(3, 3, 24, 24)), tmp_path / "where.mp4")
    item = {"name": "a", "kind": "object", "source_prompt": "a jeep", "prompt": "a car", "clip": "jeep.mp4"}
    data = {"version": 1, "name": "mine", "num_frames": 2, "size": 16, "items": [{**item, "mask": "where.mp4"}]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    benchmark = load_edits(path)
    clip = benchmark.load(benchmark.items[0])
    assert clip.frames.shape == (2, 3, 16, 16)
    assert bool(clip.region.all())
    assert benchmark.guidance == {}
    other = tmp_path / "other.yaml"
    other.write_text(to_yaml(replace(benchmark, name="other")))
    assert load_edits(other).hash != benchmark.hash

    def refused(match, kind=ConfigError, **changes):
        path.write_text(yaml.safe_dump({**data, **changes}))
        with pytest.raises(kind, match=match):
            load_edits(path)

    refused("did you mean 'items'", itmes=[])
    refused("version 2", version=2)
    refused("share the name 'a'", items=[item, item])
    refused("names clips that are not in .*: gone.mp4", VideoError, items=[{**item, "clip": "gone.mp4"}])
    refused("needs a clip or a drawn scene", items=[{k: v for k, v in item.items() if k != "clip"}])
    refused("which a file must not set", folder="/")
    with pytest.raises(ConfigError, match="did you mean 'pocket-edit'"):
        load_edits("pocket-edits")
    path.write_text("[")
    with pytest.raises(ConfigError, match="cannot read the tasks"):
        load_edits(path)


def test_the_layout_of_tgve(tmp_path):
    place = tmp_path / "DAVIS_480p" / "480p_videos"
    place.mkdir(parents=True)
    write_video(Video.from_frames(SQUARES), place / "cat-girl.mp4")
    (tmp_path / "LOVEU-TGVE-2023_Dataset.csv").write_text(
        "Video name,Our GT caption,Style Change Caption,Object Change Caption,Background Change Caption,Multiple "
        "Changes "
        'Caption\nDAVIS Videos:,,,,,\ncat-girl,A girl with a cat.,"A girl, anime style.",A girl with a dog.,,Both.\n'
    )
    items = load_edits(tmp_path).items
    assert [(i.name, i.kind, i.prompt) for i in items] == [
        ("cat-girl.style", "style", "A girl, anime style."),
        ("cat-girl.object", "object", "A girl with a dog."),
        ("cat-girl.multiple", "multiple", "Both."),
    ]
    assert {i.clip for i in items} == {"DAVIS_480p/480p_videos/cat-girl.mp4"}
    (place / "cat-girl.mp4").unlink()
    with pytest.raises(VideoError, match="cat-girl"):
        load_edits(tmp_path)


def test_the_layout_of_v2vbench(tmp_path):
    (tmp_path / "videos" / "hike").mkdir(parents=True)
    entry = {"video_id": "hike", "prompt": "a man hikes", "edit": [{"prompt": "a robot hikes"}, {"prompt": "snow"}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": [entry]}))
    items = load_edits(tmp_path).items
    assert [(i.name, i.source_prompt, i.prompt, i.clip) for i in items] == [
        ("hike.0", "a man hikes", "a robot hikes", "videos/hike"), ("hike.1", "a man hikes", "snow", "videos/hike")
    ]  # fmt: skip
    del entry["prompt"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": [entry]}))
    with pytest.raises(ConfigError, match="hike has no prompt"):
        load_edits(tmp_path)
    (tmp_path / "config.yaml").write_text("[")
    with pytest.raises(ConfigError, match="cannot read the list"):
        load_edits(tmp_path)


def test_a_plain_folder_of_clips(tmp_path):
    write_video(Video.from_frames(SQUARES), tmp_path / "jeep.mp4")
    with pytest.raises(ConfigError, match="is not a benchmark"):
        load_edits(tmp_path)
    (tmp_path / "jeep.txt").write_text("a jeep\n")
    with pytest.raises(ConfigError, match="has no target prompt"):
        load_edits(tmp_path)
    (tmp_path / "jeep.txt").write_text("a jeep\n\na car\na bus\n")
    benchmark = load_edits(tmp_path)
    assert [(i.source_prompt, i.prompt) for i in benchmark.items] == [("a jeep", "a car"), ("a jeep", "a bus")]
    assert benchmark.name == tmp_path.name


# Contestants ----------------------------------------------------------------------------------------------------------


def test_every_method_of_the_field_can_be_asked():
    item = load_edits("pocket-edit").items[0]
    for name, contestant in CONTESTANTS.items():
        assert contestant.build(item).name == {
            "fatezero-tuned": "fatezero",
            "atlas": "fatezero",
            "sdedit-shared": "sdedit",
        }.get(name, name)
    assert next(iter(CONTESTANTS)) == "fatezero"
    assert [c.name for c in get_contestants(["ddim", "all"])][:2] == ["ddim", "fatezero"]
    with pytest.raises(ConfigError, match="did you mean 'fatezero'"):
        get_contestants(["fatezer"])
    whole = EditItem("x", "style", "a car", "a pencil sketch of a car", clip="x.mp4", style=("pencil",))
    assert CONTESTANTS["videograin"].build(whole) is None
    assert CONTESTANTS["fatezero"].build(whole).reweight == {"pencil": 1.5}


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_measures_keeps_and_goes_on(bench, tmp_path, monkeypatch):
    benchmark = replace(load_edits("pocket-edit").limited(2), num_frames=2)
    bench = replace(bench, session=Session(bench.session.editor, cache=Cache(tmp_path / "cache")))
    contestants = get_contestants(["ddim", "prompt-to-prompt", "fatezero"])
    out = tmp_path / "out"
    inverted, invert = [], VideoEditor.invert
    monkeypatch.setattr(VideoEditor, "invert", lambda *a, **k: inverted.append(k["temporal"]) or invert(*a, **k))
    records, failed = run_bench(bench, benchmark, contestants, out, stage=silent)
    assert not failed
    assert len(records) == 6
    # Each clip once for the two methods whose frames see each other, once for the one that goes frame by frame.
    assert len(inverted) == 4
    for record in records:
        assert set(record.figures) >= {"edit_success", "reached", "kept", "tem_con", "background_psnr", "warp_ssim"}
        assert set(record.figures) <= set(metrics_of("bench"))
        assert len(record.curves["tem_con"]) == 1
        assert (out / "records" / f"{record.key}.webp").is_file()
    monkeypatch.setattr(VideoEditor, "edit", lambda *a, **k: pytest.fail("made again"))
    again, _ = run_bench(bench, benchmark, contestants, out, stage=silent)
    assert again == records
    halves = [run_bench(bench, benchmark, contestants, out, shard=(k, 2), stage=silent)[0] for k in range(2)]
    assert sorted(r.key for half in halves for r in half) == sorted(r.key for r in records)


def test_a_failing_edit_costs_no_other(bench, tmp_path, monkeypatch):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=1)
    edit = VideoEditor.edit

    def failing(self, inversion, prompt, method, **options):
        if method.name == "ddim":
            raise NumericalError("latents are no longer finite")
        return edit(self, inversion, prompt, method, **options)

    monkeypatch.setattr(VideoEditor, "edit", failing)
    records, failed = run_bench(bench, benchmark, get_contestants(["ddim", "sdedit"]), tmp_path, stage=silent)
    assert [r.method for r in records] == ["sdedit"]
    assert failed == ["colour-00, ddim: latents are no longer finite"]


def test_an_edit_that_draws_noise_is_made_again_for_another_seed(bench, tmp_path):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=1)
    keys = {
        run_bench(replace(bench, seed=seed), benchmark, get_contestants(["sdedit"]), tmp_path, stage=silent)[0][0].key
        for seed in (0, 1)
    }
    assert len(keys) == 2


def test_another_judge_reads_the_same_edits(bench, tmp_path, monkeypatch):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=1)
    judge = copy.deepcopy(bench.judge)
    judge.heads["colour"].bias += 1
    other = replace(bench, judge=judge)

    def ran(with_what):
        return run_bench(with_what, benchmark, get_contestants(["sdedit"]), tmp_path, stage=silent)[0][0]

    made, edit = [], VideoEditor.edit
    monkeypatch.setattr(VideoEditor, "edit", lambda *a, **k: made.append(1) or edit(*a, **k))
    # Without its frames the edit is made again for another judge; with them it is only read again.
    ran(bench)
    ran(other)
    assert len(made) == 2
    first = ran(replace(bench, keep_clips=True))
    assert len(made) == 3
    second, again = ran(other), ran(bench)
    assert len(made) == 3
    assert again == first
    assert second.figures["clip_t"] == first.figures["clip_t"]
    assert (second.key, second.seconds) == (first.key, first.seconds)
    assert second.instruments != first.instruments


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c.replace(b"{", b"{{", 1), lambda c: b"\xff" * 100]
)
def test_damaged_records_and_clips_are_set_aside_and_made_again(bench, tmp_path, damage):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=2)
    bench = replace(bench, keep_clips=True)

    def ran(instruments=bench.instruments):
        vars(bench)["instruments"] = instruments  # Others measure the kept clip anew.
        (record,), failed = run_bench(bench, benchmark, get_contestants(["sdedit"]), tmp_path, stage=silent)
        assert not failed
        return record

    first = ran()
    record, clip = (
        tmp_path / kind / f"{first.key}.{suffix}" for kind, suffix in (("records", "json"), ("clips", "webp"))
    )
    for path, measured in ((record, bench.instruments), (clip, "others")):
        damaged = damage(path.read_bytes())
        path.write_bytes(damaged)
        with pytest.warns(DamagedFileWarning, match=f"{path.name} is damaged and is made again") as warned:
            again = ran(measured)
        assert len(warned) == 1
        assert again.figures == first.figures
        assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged
        assert path.is_file()
    write_video(Video.from_frames(SQUARES), clip, quality=100)
    with pytest.warns(DamagedFileWarning, match="it has the shape "):
        assert ran("still others").figures == first.figures


def test_a_record_of_another_layout_or_edit_is_damaged(tmp_path):
    record = BenchRecord(
        key="a" * 24, instruments="b", method="e", figures={"clip_t": float("inf")}, seconds=1.0, item="c", kind="d",
        curves={},
    )  # fmt: skip
    store = Store(tmp_path, BenchRecord)
    store.keep(record, SQUARES, SQUARES)
    assert store.find(record.key) == record
    assert store.is_done(record, "b")
    path = tmp_path / "records" / f"{record.key}.json"
    good = json.loads(path.read_text())
    for other in (
        {**good, "more": 1},
        {k: v for k, v in good.items() if k != "kind"},
        {**good, "key": "f" * 24},
        [good],
    ):
        path.write_text(json.dumps(other))
        with pytest.warns(DamagedFileWarning):
            assert store.find(record.key) is None
        assert not path.exists()
    store.picture(record.key).unlink()
    assert not store.is_done(record, "b")


def test_an_item_is_edited_alike_in_a_part_of_a_benchmark_and_in_all_of_it(bench, tmp_path):
    two = replace(load_edits("pocket-edit").limited(2), num_frames=1)
    one = replace(two, items=two.items[1:])
    whole, _ = run_bench(bench, two, get_contestants(["sdedit"]), tmp_path, stage=silent)
    part, _ = run_bench(bench, one, get_contestants(["sdedit"]), tmp_path, stage=silent)
    assert part == whole[1:]
    assert whole[0].key != whole[1].key


def test_tuning_to_a_clip_is_counted_and_leaves_the_model_as_it_was(bench, tmp_path):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=2)
    before = bench.session.editor.weights_fingerprint
    contestants = get_contestants(["tune-a-video", "fatezero-tuned"])
    (ddim, fatezero), failed = run_bench(replace(bench, tuning_steps=1), benchmark, contestants, tmp_path, stage=silent)
    assert not failed
    assert ddim.preparing == fatezero.preparing > 0, "both were made with the same tuned model"
    assert bench.session.editor.weights_fingerprint == before
    (longer, _), _ = run_bench(replace(bench, tuning_steps=2), benchmark, contestants, tmp_path, stage=silent)
    assert longer.key != ddim.key
    assert longer.figures != ddim.figures


def test_an_atlas_is_edited_in_one_picture_and_the_rest_of_the_clip_stays(bench, tmp_path):
    benchmark = replace(load_edits("pocket-edit").limited(1), num_frames=3)
    (direct, atlas), failed = run_bench(
        bench, benchmark, get_contestants(["fatezero", "atlas"]), tmp_path, stage=silent
    )
    assert not failed
    assert atlas.preparing > 0
    assert atlas.figures["background_psnr"] > direct.figures["background_psnr"]


def test_an_atlas_needs_a_subject():
    without = [item for item in load_edits("pocket-edit").items if item.blend is None]
    assert {item.kind for item in without} == {"background", "style"}
    assert not any(CONTESTANTS["atlas"].build(item) for item in without)


# Results --------------------------------------------------------------------------------------------------------------


def record(method, item, kind, **figures):
    return BenchRecord(
        key=f"{method}{item}", instruments="", method=method, figures=figures, seconds=2.0, preparing=1.0, item=item,
        kind=kind, curves={"tem_con": (0.5, 0.7)},
    )  # fmt: skip


def test_time_is_told_as_a_multiple_of_fatezeros_on_the_same_clips():
    rows = [
        replace(record("fatezero", item, "colour"), seconds=s, preparing=0.0) for item, s in (("a", 1.0), ("b", 10.0))
    ]
    rows += [replace(record("m", item, "colour"), seconds=s, preparing=1.0) for item, s in (("a", 1.0), ("b", 9.0))]
    found = summarise(rows)["results"]
    assert found["m"]["time_ratio"].value == pytest.approx(1.5)
    assert found["fatezero"]["time_ratio"].value == 1.0
    assert summarise(rows[2:])["results"]["m"]["time_ratio"].n == 0


def test_kinds_count_alike_whatever_their_number():
    rows = [record("m", f"a{i}", "colour", edit_success=1.0, tem_con=0.9) for i in range(3)]
    rows.append(record("m", "b", "style", edit_success=0.0, tem_con=0.5))
    found = summarise(rows)["results"]["m"]
    assert found["edit_success"].value == 0.5
    assert found["edit_success"].n == 4
    assert found["tem_con"].value == pytest.approx(0.7)
    # One clip of a style says nothing of how styles differ, so the kinds are drawn.
    assert (found["edit_success"].low, found["edit_success"].high) == (0.0, 1.0)
    more = [*rows, record("m", "c", "style", edit_success=1.0, tem_con=0.5)]
    within = summarise(more)["results"]["m"]["edit_success"]
    assert (within.value, within.low, within.high) == (0.75, 0.5, 1.0)
    # What a method prepares is part of what it costs.
    assert found["seconds"].value == 3.0
    assert found["background_psnr"].n == 0
    assert summarise(rows)["kinds"]["m"] == {
        "colour": {"edit_success": 1.0, "n": 3.0}, "style": {"edit_success": 0.0, "n": 1.0}
    }  # fmt: skip
    assert summarise(rows)["curves"]["m"]["tem_con"] == [0.5, 0.7]


@pytest.fixture
def result():
    rows = [
        record(m, f"{m}{i}", "colour", edit_success=s, clip_t=0.5) for m, s in (("a", 0.0), ("b", 1.0)) for i in (0, 1)
    ]
    facts = {
        "benchmark": {"name": "x", "hash": "h", "items": 2}, "model": {"name": "pocket", "fingerprint": "f"},
        "settings": {"steps": 4, "seed": 0}, "clip": {"name": "pocket"},
    }  # fmt: skip
    return BenchResult(**summarise(rows), provenance=facts), rows


def test_a_result_is_kept_and_ranked(result, tmp_path):
    found, _ = result
    path = write_result(found, tmp_path / "bench.json")
    data = json.loads(path.read_text())
    assert data["results"]["b"]["edit_success"] == {"value": 1.0, "n": 2, "low": 1.0, "high": 1.0}
    assert data["results"]["b"]["background_psnr"]["value"] is None
    assert data["results"]["b"]["seconds"]["value"] == 3.0
    again = load_leaderboard(path)
    assert ranked(again) == ["b", "a"]
    table = markdown(again).splitlines()
    assert table[0].startswith("| method | n | edit success ↑ | CLIP-T ↑ |")
    assert table[2].startswith("| b | 2 | 1 (1 to 1) | 0.5 ")
    assert "background" not in table[0]
    (tmp_path / "bad.json").write_text('{"format": 9}')
    with pytest.raises(ConfigError, match="format 9"):
        load_leaderboard(tmp_path / "bad.json")


def test_fatezero_is_compared_clip_by_clip(tmp_path):
    # What is hard about a clip is hard for both: clips are far apart, differences are not.
    rows = [
        record(m, f"i{i}", "colour", tem_con=0.5 + 0.1 * i + ahead)
        for m, ahead in (("fatezero", 0.02), ("a", 0.0))
        for i in range(4)
    ]
    found = BenchResult(**summarise([*rows, record("a", "alone", "colour", tem_con=0.0)]), provenance={})
    difference = found.pairs["a"]["tem_con"]
    assert difference.n == 4
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.02, 0.02, 0.02))
    assert "fatezero" not in found.pairs
    assert found.pairs["a"]["edit_success"].n == 0
    again = load_leaderboard(write_result(found, tmp_path / "bench.json"))
    assert again.pairs["a"]["tem_con"] == difference
    assert markdown_pairs(again).splitlines() == [
        "| method | n | Tem-Con |", "| --- | ---: | ---: |", "| a | 4 | 0.02 (0.02 to 0.02) |"
    ]  # fmt: skip
    assert summarise(rows[4:])["pairs"] == {}


def test_two_runs_are_apart_where_their_intervals_are(result):
    found, rows = result
    better = [replace(r, figures={**r.figures, "edit_success": 1.0}) for r in rows]
    rows = compare(found, BenchResult(**summarise(better), provenance={}))
    apart = {(method, name): far for method, name, _, _, far in rows}
    assert apart["a", "edit_success"]
    assert not apart["b", "edit_success"]
    assert not apart["a", "clip_t"]


def test_the_page_holds_all_it_shows(result, tmp_path):
    found, rows = result
    items = {r.item: EditItem(r.item, r.kind, "a <b> car", "a car", clip="x.mp4") for r in rows}
    page = write_html(replace(found, failed=("x, y: z",)), rows, items, tmp_path).read_text()
    assert page.count("data:image/png;base64") == 2
    assert "Failed edits" in page
    assert "<b> car" not in page
    assert len(plot_agreement(found).axes) == 3
    assert len(plot_frames(found).axes) == 1
    assert set(metrics_of("evaluate")) <= set(metrics_of("bench"))


def test_settings_of_a_run():
    with pytest.raises(ConfigError, match="at least one method"):
        BenchRun(methods=())
    with pytest.raises(ConfigError, match="0 steps"):
        BenchRun(steps=0)
