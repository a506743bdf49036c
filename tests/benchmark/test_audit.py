"""The audit: what is asked for, what is kept, what is found, and that a small real one shows what FAME is for."""

import html
import json
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from faircut import VideoEditor, benchmark
from faircut.benchmark.audit import tasks
from faircut.benchmark.audit.approaches import APPROACHES, Ask, get_approaches
from faircut.benchmark.audit.calibrate import calibrate
from faircut.benchmark.audit.cases import calibration_cases, pocket_professions
from faircut.benchmark.audit.html import plot_calibration, write_html
from faircut.benchmark.audit.jobs import Audit, run_audit
from faircut.benchmark.audit.measure import AuditRecord, Instruments, measure, read_clip
from faircut.benchmark.audit.policies import Cell, requests
from faircut.benchmark.audit.results import AuditResult, load_result, summarise
from faircut.benchmark.audit.run import LIMITS
from faircut.benchmark.audit.tasks import load_tasks
from faircut.benchmark.results import write_result
from faircut.benchmark.settings import AuditRun
from faircut.edit.session import Session
from faircut.errors import ConfigError, DamagedFileWarning, NumericalError, VideoError
from faircut.evaluate import metrics_of
from faircut.fairness import GENDER, HAIR
from faircut.fairness.calibration import (
    Calibration,
    Point,
    best_alpha,
    calibration_folder,
    calibration_name,
    find_calibration,
)
from faircut.fairness.readers import ClipReader
from faircut.metrics.clip import ClipScorer
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.judge import load_judge
from faircut.pocket.reader import PocketReader
from faircut.pocket.vocabulary import PROFESSIONS

TASKS = Path(benchmark.__file__).parent / "data" / "winobias.yaml"


@contextmanager
def stage(name, total):
    yield lambda: None


@pytest.fixture(scope="module")
def instruments():
    clip = ClipScorer.from_pretrained(pocket_folder() / "clip")
    return Instruments(PocketReader(load_judge()), clip, GENDER, PROFESSIONS)


@pytest.fixture(scope="module")
def cases():
    return pocket_professions()


def short(case, frames=2):
    """The same case with a few of its frames."""

    def load():
        clip = case.load()
        return replace(
            clip, frames=clip.frames[:frames], mask=clip.mask[:frames], others=tuple(m[:frames] for m in clip.others),
            flow=clip.flow[: frames - 1], empty=clip.empty[:frames],
        )  # fmt: skip

    return replace(case, load=load)


# What is edited -------------------------------------------------------------------------------------------------------


def test_the_benchmark_crosses_professions_values_places_and_company(cases):
    assert len(cases) == 144 == len({case.name for case in cases})
    for profession in PROFESSIONS:
        own = [case for case in cases if case.profession == profession]
        for value in ("female", "male"):
            places = {(case.name.split(".")[2], case.people) for case in own if case.value == value}
            assert len({place for place, _ in places}) == 3
            assert {people for _, people in places} == {1, 2}
    assert pocket_professions() == cases
    # Every pair shows both values, and the first two dozen every profession.
    assert all({a.value, b.value} == {"female", "male"} for a, b in zip(cases[::2], cases[1::2], strict=True))
    assert {case.profession for case in cases[:24]} == set(PROFESSIONS)
    assert not {case.name for case in cases} & {case.name for case in calibration_cases(3)}
    with pytest.raises(ConfigError, match="1 to 144"):
        pocket_professions(145)


def test_prompts_leave_the_value_open_and_name_one_person(cases):
    for case in cases:
        for text in (case.source_prompt, case.prompt):
            assert GENDER.said_in(text) is None
        assert case.source_prompt.count("person") == 1
        assert case.prompt.count(case.profession) == 1
    assert any(case.prompt.startswith("an engineer") for case in cases)


def test_the_truth_of_a_case_is_seen_in_its_clip(cases, instruments):
    for case in (cases[0], next(c for c in cases if c.people == 2)):
        clip = case.load()
        reading = read_clip(instruments, (clip.frames + 1) / 2, clip)
        assert reading.perceived.value == case.value
        assert reading.profession == "person"
        assert len(reading.others) == case.people - 1
        # Without the person the clip differs where the person is, and nowhere else.
        differs = (clip.frames - clip.empty).abs().amax(1) > 0.4
        assert differs[clip.mask].float().mean() > 0.7
        assert differs[~clip.mask].float().mean() < 0.02


# What is asked for ----------------------------------------------------------------------------------------------------


def test_policies(cases):
    some = cases[:48]
    seen = [case.value for case in some]
    seen[3] = None
    assert [cell.value for cell in requests("preserve", some, seen, GENDER, 0)] == seen
    balanced = requests("balanced", some, seen, GENDER, 0)
    for profession in PROFESSIONS:
        values = [cell.value for cell in balanced if cell.case.profession == profession]
        assert values.count("female") == values.count("male") == 2
    assert requests("balanced", some, seen, GENDER, 1) != balanced
    explicit = requests("explicit", some, seen, GENDER, 0)
    assert len(explicit) == 96
    assert {(c.case.name, c.value) for c in explicit} == {(c.name, v) for c in some for v in GENDER.names}
    table = Calibration("gender", "", "", {}, {}, priors={"doctor": {"female": 0.1, "male": 0.9}})
    assert [c.value for c in requests("minority", some[:2], seen, GENDER, 0, table)] == ["female", "female"]
    with pytest.raises(ConfigError, match="calibrate the model first"):
        requests("minority", some[2:4], seen, GENDER, 0, table)
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        requests("balance", some, seen, GENDER, 0)


def test_ways_of_editing(cases, pocket_editor):
    word = APPROACHES["fatezero+word"]
    assert word.prompt(cases[0], "female", GENDER, pocket_editor.tokenize) == cases[0].prompt.replace(
        "a doctor", "a female doctor"
    )
    assert APPROACHES["fame"].prompt(cases[0], "female", GENDER, pocket_editor.tokenize) == cases[0].prompt
    table = Calibration("gender", "", "", {"doctor": {"female": 1.75}}, {"female": 1.25, "male": 1.0})
    assert APPROACHES["fame"].alpha(cases[0], "female", table) == 1.75
    assert APPROACHES["fame"].alpha(cases[2], "female", table) == 1.25
    assert APPROACHES["fame"].build(cases[0], Ask("male", alpha=1.5)).alpha == 1.5
    assert APPROACHES["fame:alpha-1"].build(cases[0], Ask("male", alpha=1.5)).alpha == 1.0
    assert APPROACHES["fame"].build(cases[0], Ask("black", attribute="hair")).attribute == "hair"
    names = [approach.name for approach in get_approaches(["fame", "ablation"])]
    assert names[0] == "fame"
    assert "fame:temporal" in names
    with pytest.raises(ConfigError, match="did you mean 'fatezero'"):
        get_approaches(["fatezer"])


# What is measured -----------------------------------------------------------------------------------------------------


def test_a_clip_that_is_not_edited_measures_as_itself(cases, instruments):
    case = next(c for c in cases if c.people == 2)
    clip = case.load()
    frames = (clip.frames + 1) / 2
    source = read_clip(instruments, frames, clip)
    record = measure("k", case, "none", case.value, clip, source, frames, 1.0, instruments)
    assert record.perceived == record.source_value == case.value
    assert not record.profession_success
    assert record.other_person_kept
    assert record.position_error == 0.0
    assert not record.escaped
    assert record.figures["background_psnr"] == 100.0
    assert record.figures["warp_error"] < 0.01


def test_a_person_who_jumps_or_vanishes_has_escaped(cases, instruments):
    case = cases[0]
    clip = case.load()
    frames, empty = (clip.frames + 1) / 2, (clip.empty + 1) / 2
    source = read_clip(instruments, frames, clip)

    def escaped(edited):
        return measure("k", case, "none", None, clip, source, edited, 1.0, instruments)

    gone = frames.clone()
    gone[2] = empty[2]
    assert escaped(gone).escaped
    moved = frames.clone()
    moved[2] = torch.where(torch.roll(clip.mask[2], 40, -1), torch.roll(frames[2], 40, -1), empty[2])
    assert escaped(moved).escaped
    assert 0.02 < escaped(moved).position_error < 0.1
    assert not escaped(frames).escaped
    # A strip along the border is nobody, and who differs from the place only from the hips up stands where he or she
    # stood.
    flawed = frames.clone()
    flawed[:, :, 30:70, -3:] = 1 - empty[:, :, 30:70, -3:].round()
    feet = clip.mask.clone()
    feet[:, : int(clip.mask[0].any(1).nonzero().max()) - 12] = False
    flawed = torch.where(feet[:, None], empty, flawed)
    assert not escaped(flawed).escaped
    assert escaped(flawed).position_error < 0.05


def record(case, perceived, profession=True, **other):
    facts = {
        "key": "k", "instruments": "i", "case": case.name, "method": "m", "requested": None,
        "profession": case.profession,
        "source_value": case.value, "perceived": perceived, "stability": 1.0, "profession_success": profession,
        "other_person_kept": None, "position_error": 0.0, "escaped": False, "seconds": 1.0,
        "figures": {"tem_con": 1.0, "clip_t": 0.3, "warp_error": 0.0, "background_psnr": 30.0},
    }  # fmt: skip
    return AuditRecord(**{**facts, **other})


def test_figures_of_known_edits(cases):
    some = cases[:48]
    biased = [
        (Cell("balanced", c, v), record(c, c.stereotype)) for c, v in zip(some, ["female", "male"] * 24, strict=True)
    ]
    fair = [(cell, record(cell.case, cell.value)) for cell, _ in biased]
    unclear = [(cell, record(cell.case, None, profession=False)) for cell, _ in biased]
    explicit = [(Cell("explicit", c, v), record(c, c.stereotype)) for c in some for v in GENDER.names]
    found = {
        ("a", "balanced"): biased,
        ("b", "balanced"): fair,
        ("c", "balanced"): unclear,
        ("a", "explicit"): explicit,
    }
    results = summarise(found, GENDER)["results"]
    assert results["a"]["balanced"]["disparity"].value == 1.0
    assert results["a"]["balanced"]["hit_rate"].value == 0.5
    assert results["a"]["balanced"]["flip_rate"].value == 0.5
    assert results["b"]["balanced"]["disparity"].value == 0.0
    assert results["b"]["balanced"]["hit_and_profession"].value == 1.0
    assert results["c"]["balanced"]["hit_rate"].value == 0.0
    assert results["c"]["balanced"]["flip_rate"].value == 0.0
    assert results["c"]["balanced"]["abstentions"].value == 1.0
    assert results["a"]["explicit"]["hit_rate"].value == 0.5
    assert results["a"]["explicit_counter"]["hit_rate"].value == 0.0
    assert results["a"]["explicit_stereotypical"]["hit_rate"].value == 1.0
    assert results["a"]["explicit_counter"]["hit_rate"].n == 48
    assert results["a"]["balanced"]["other_person_kept"].n == 0


def test_another_attribute_has_its_own_values_and_no_gender_stereotypes(cases):
    some = cases[:10]
    seen = ["red", "grey"] * 5
    assert [c.value for c in requests("preserve", some, seen, HAIR, 0)] == seen
    assert len(requests("explicit", some, seen, HAIR, 0)) == 50
    balanced = requests("balanced", [replace(c, profession="doctor") for c in some], seen, HAIR, 0)
    assert sorted(c.value for c in balanced) == sorted([*HAIR.names] * 2)
    rows = [(c, record(c.case, c.value)) for c in requests("explicit", some, seen, HAIR, 0)]
    results = summarise({("fame", "explicit"): rows}, HAIR)["results"]["fame"]
    assert set(results) == {"explicit"}
    assert results["explicit"]["disparity"].value == 0.0
    assert results["explicit"]["hit_rate"].value == 1.0


def test_a_result_survives_its_file(cases, tmp_path):
    rows = [(Cell("preserve", c, c.value), record(c, c.value)) for c in cases[:4]]
    result = AuditResult(**summarise({("fame", "preserve"): rows}, GENDER), provenance={"seed": 0}, limits=LIMITS)
    path = write_result(result, tmp_path / "a.json")
    data = json.loads(path.read_text())
    cell = data["results"]["fame"]["preserve"]
    assert set(metrics_of("audit")) <= set(cell)
    assert all(set(figure) == {"value", "n", "low", "high"} for figure in cell.values())
    assert cell["other_person_kept"] == {"value": None, "n": 0, "low": None, "high": None}
    again = load_result(path)
    assert again.results["fame"]["preserve"]["hit_rate"] == result.results["fame"]["preserve"]["hit_rate"]
    assert math.isnan(again.results["fame"]["preserve"]["other_person_kept"].value)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="cannot read the audit"):
        load_result(path)


# Running --------------------------------------------------------------------------------------------------------------


def run(pocket_editor, cases, instruments, folder, methods=("fatezero", "fame"), policies=("explicit",), **changes):
    table = Calibration("gender", "", "", {}, {"female": 1.25, "male": 1.25})
    audit = replace(Audit(steps=3), **changes)
    return run_audit(
        Session(pocket_editor),
        cases,
        get_approaches(list(methods)),
        policies,
        instruments,
        audit,
        folder,
        calibration=table,
        stage=stage,
    )


def test_a_stopped_audit_goes_on_and_makes_nothing_twice(pocket_editor, cases, instruments, tmp_path, monkeypatch):
    some = [short(case) for case in cases[:2]]
    made = []
    edit = VideoEditor.edit

    def counted(self, inversion, prompt, method, **options):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((prompt, method.name))
        return edit(self, inversion, prompt, method, **options)

    monkeypatch.setattr(VideoEditor, "edit", counted)
    with pytest.raises(KeyboardInterrupt):
        run(pocket_editor, some, instruments, tmp_path)
    assert len(list((tmp_path / "records").glob("*.json"))) == 3
    monkeypatch.setattr(VideoEditor, "edit", lambda *args, **options: made.append(1) or edit(*args, **options))
    found, failed = run(pocket_editor, some, instruments, tmp_path)
    # FateZero once a clip, FAME once a clip and value.
    assert len(made) == 6
    assert not failed
    assert {key: len(rows) for key, rows in found.items()} == {("fatezero", "explicit"): 4, ("fame", "explicit"): 4}
    monkeypatch.setattr(VideoEditor, "invert", None)
    again, _ = run(pocket_editor, some, instruments, tmp_path)
    assert again == found
    assert len(list((tmp_path / "records").glob("*.webp"))) == 6


def test_kept_clips_are_measured_by_other_instruments_and_not_made_again(
    pocket_editor, cases, instruments, tmp_path, monkeypatch
):
    some = [short(case) for case in cases[:2]]
    first, _ = run(pocket_editor, some, instruments, tmp_path, keep_clips=True)
    assert len(list((tmp_path / "clips").glob("*.webp"))) == 6
    other = replace(instruments, observer=ClipReader(instruments.clip, certainty=0.0))
    # Measured by themselves again, after another's readings: the same to the digit, so the clips are what was measured.
    monkeypatch.setattr(VideoEditor, "edit", None)
    monkeypatch.setattr(VideoEditor, "invert", None)
    read, _ = run(pocket_editor, some, other, tmp_path)
    back, _ = run(pocket_editor, some, instruments, tmp_path)
    assert back == first
    records = {record.key: record for rows in first.values() for _, record in rows}
    for rows in read.values():
        for _, record in rows:
            assert record.instruments == other.fingerprint != records[record.key].instruments
            assert record.seconds == records[record.key].seconds
            assert record.figures == records[record.key].figures


def test_damaged_records_and_kept_clips_do_not_stop_an_audit(pocket_editor, cases, instruments, tmp_path):
    some = [short(case) for case in cases[:1]]

    def ran(observers):
        return run(pocket_editor, some, observers, tmp_path, ("fatezero",), ("preserve",), keep_clips=True)

    first, _ = ran(instruments)
    (clip,), (record,) = (
        list((tmp_path / kind).glob(f"*.{end}")) for kind, end in (("clips", "webp"), ("records", "json"))
    )
    clip.write_bytes(clip.read_bytes()[:100])
    with pytest.warns(DamagedFileWarning, match="is damaged and is made again") as warned:
        _, failed = ran(replace(instruments, observer=ClipReader(instruments.clip)))
    assert not failed
    assert len(warned) == 1
    record.write_text("{}")
    with pytest.warns(DamagedFileWarning, match="lacks key"):
        again, failed = ran(instruments)
    assert not failed
    seconds = [[replace(r, seconds=0.0) for _, r in rows] for found in (first, again) for rows in found.values()]
    assert seconds[0] == seconds[1]


def test_a_damaged_calibration_is_set_aside(pocket_editor, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path / "inversions"))
    shipped = find_calibration(pocket_editor, GENDER)
    path = calibration_folder() / calibration_name(GENDER, pocket_editor.weights_fingerprint)
    path.parent.mkdir(parents=True)
    for content in ("", "{}", "[]", '{"attribute": 5}', '{"alphas": {"nurse": {"male": -1}}, "default": {"male": 1}}'):
        path.write_text(content)
        with pytest.warns(DamagedFileWarning, match="is damaged and is made again"):
            assert find_calibration(pocket_editor, GENDER) == shipped
        assert not path.exists()
    assert len(list(path.parent.iterdir())) == 5


def test_without_their_clips_edits_are_made_again_for_other_instruments_and_for_whoever_wants_them(
    pocket_editor, cases, instruments, tmp_path, monkeypatch
):
    some = [short(case) for case in cases[:1]]
    made = []
    edit = VideoEditor.edit
    monkeypatch.setattr(VideoEditor, "edit", lambda *args, **options: made.append(1) or edit(*args, **options))
    other = replace(instruments, observer=ClipReader(instruments.clip))
    for number, (observers, keep) in enumerate(
        ((instruments, False), (other, False), (other, True), (instruments, True))
    ):
        run(pocket_editor, some, observers, tmp_path, ("fatezero",), ("preserve",), keep_clips=keep)
        assert len(made) == min(number + 1, 3)
    # What a CLIP may choose from decides what it reads; the judge knows its professions.
    fewer = PROFESSIONS[:2]
    assert replace(other, professions=fewer).fingerprint != other.fingerprint
    assert replace(instruments, professions=fewer).fingerprint == instruments.fingerprint


def test_shards_make_their_parts_and_other_settings_are_other_edits(pocket_editor, cases, instruments, tmp_path):
    some = [short(case) for case in cases[:2]]
    for k in range(2):
        found, _ = run(pocket_editor, some, instruments, tmp_path, ("fatezero",), ("preserve",), shard=(k, 2))
        assert len(found["fatezero", "preserve"]) == 1
    assert len(list((tmp_path / "records").glob("*.json"))) == 2
    run(pocket_editor, some[:1], instruments, tmp_path, ("fatezero",), ("preserve",), guidance=3.0)
    assert len(list((tmp_path / "records").glob("*.json"))) == 3
    with pytest.raises(ConfigError, match="the shard is 3/2"):
        Audit(shard=(2, 2))


def test_a_failing_edit_costs_no_other(pocket_editor, cases, instruments, tmp_path, monkeypatch):
    some = [short(case) for case in cases[:2]]
    invert = VideoEditor.invert

    def broken(self, frames, prompt, **options):
        if prompt == some[0].source_prompt:
            raise NumericalError("latents are no longer finite")
        return invert(self, frames, prompt, **options)

    assert some[0].source_prompt != some[1].source_prompt
    monkeypatch.setattr(VideoEditor, "invert", broken)
    found, failed = run(pocket_editor, some, instruments, tmp_path, ("fatezero",), ("preserve",))
    assert len(found["fatezero", "preserve"]) == 1
    assert len(failed) == 1
    assert "no longer finite" in failed[0]


def test_the_report_holds_its_figures_plots_and_pictures(pocket_editor, cases, instruments, tmp_path):
    found, _ = run(pocket_editor, [short(case) for case in cases[:2]], instruments, tmp_path)
    provenance = {
        "benchmark": "b<1>", "model": {"name": "pocket", "fingerprint": "f"}, "clips": 2, "reader": "r", "clip": "c",
        "audit": {"steps": 3, "guidance": 4.0, "seed": 0},
    }  # fmt: skip
    result = AuditResult(**summarise(found, GENDER), provenance=provenance, limits=LIMITS, failed=("one & two",))
    text = write_html(result, found, tmp_path).read_text()
    assert "b&lt;1&gt;" in text
    assert "one &amp; two" in text
    assert text.count("data:image/png") == 3
    assert text.count("data:image/webp") >= 4
    assert all(html.escape(limit) in text for limit in LIMITS)
    assert "http" not in text.replace("http-equiv", "")


def test_a_small_audit_shows_what_fame_is_for(pocket_editor, cases, instruments, tmp_path):
    # Two professions, each of them once against its stereotype and once with it: quick, so far from a measurement.
    some = [short(case) for case in cases[:4]]
    table = Calibration("gender", "", "", {}, {"female": 1.5, "male": 1.5})
    found, _ = run_audit(
        Session(pocket_editor), some, get_approaches(["fatezero", "fame"]), ["preserve"], instruments, Audit(steps=12),
        tmp_path, calibration=table, stage=stage,
    )  # fmt: skip
    results = summarise(found, GENDER)["results"]
    plain, fame = results["fatezero"]["preserve"], results["fame"]["preserve"]
    # The sources have both values in equal number, so who keeps them is fair.
    assert fame["disparity"].value < plain["disparity"].value
    assert fame["flip_rate"].value < plain["flip_rate"].value
    assert fame["profession_success"].value >= 0.75


# Calibration and tasks ------------------------------------------------------------------------------------------------


def test_the_smallest_sufficient_strength_is_chosen():
    points = (Point(0.0, 0.0, 1.0, 4), Point(1.0, 0.5, 1.0, 4), Point(1.5, 1.0, 1.0, 4), Point(2.0, 1.0, 0.5, 4))
    assert best_alpha(points) == 1.5
    assert best_alpha(points, wanted=0.5) == 1.0
    assert best_alpha(points[:2], wanted=0.5) == 1.0
    # Where the profession is lost too soon, the best of both.
    assert best_alpha((Point(0.0, 0.0, 1.0, 4), Point(1.0, 0.75, 0.75, 4), Point(2.0, 1.0, 0.25, 4))) == 1.0
    # One edit more of two is no evidence; two more are.
    assert best_alpha((Point(0.0, 0.0, 1.0, 2), Point(1.0, 0.5, 1.0, 2), Point(2.0, 1.0, 1.0, 2))) == 1.0
    assert best_alpha((Point(0.0, 0.0, 1.0, 2), Point(1.0, 0.0, 1.0, 2), Point(2.0, 1.0, 1.0, 2))) == 2.0
    # At 0 nothing is asked for, so a hit there is no strength.
    assert best_alpha((Point(0.0, 1.0, 1.0, 4), Point(1.0, 1.0, 1.0, 4))) == 1.0


def test_a_calibration_of_a_real_model(pocket_editor, instruments):
    some = [short(case) for case in calibration_cases(1)[:2]]
    table = calibrate(
        Session(pocket_editor), some, instruments, Audit(steps=3), model="pocket", alphas=(0.0, 1.5), stage=stage
    )
    assert table.weights == pocket_editor.weights_fingerprint
    assert set(table.curves["doctor"]) == {"female", "male"}
    assert [point.alpha for point in table.curves["doctor"]["female"]] == [0.0, 1.5]
    assert table.alpha("doctor", "female") in (0.0, 1.5)
    assert set(table.prior("doctor")) == {"female", "male"}
    (panel,) = plot_calibration(table).axes
    assert panel.get_title() == "doctor (n 1)"


def test_the_task_file_for_real_clips(tmp_path):
    data = yaml.safe_load(TASKS.read_text())
    assert len(data["stereotypes"]) == 36
    with pytest.raises(VideoError, match=r"names clips that are not in .*: clips/female-1"):
        load_tasks(TASKS)
    path = tmp_path / "mine.yaml"
    shutil.copy(TASKS, path)
    (tmp_path / "clips").mkdir()
    for task in data["tasks"]:
        (tmp_path / task["clip"]).touch()
    cases = load_tasks(path)
    assert len(cases) == 6 * 36 == len({case.name for case in cases})
    assert cases[0].prompt == "an analyst walking in a park"
    assert cases[0].stereotype == "male"
    path.write_text("version: 1\ntasks: []\nstereotypes: {}\nprofessions: 3\n")
    with pytest.raises(ConfigError, match="no setting 'professions'"):
        load_tasks(path)


def test_clips_of_one_name_and_tasks_of_one_clip_are_cases_of_their_own(tmp_path):
    task = {"source_prompt": "a person", "person": "person", "prompt": "a {profession}", "professions": ["doctor"]}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "walk.mp4").touch()
    tasks = [{**task, "clip": clip} for clip in ("a/walk.mp4", "b/walk.mp4", "a/walk.mp4")]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"version": 1, "tasks": tasks, "stereotypes": {}}))
    cases = load_tasks(tmp_path / "mine.yaml")
    assert [case.name for case in cases] == ["walk.doctor", "walk.doctor~2", "walk.doctor~3"]
    assert [case.path for case in cases] == [tmp_path / task["clip"] for task in tasks]


def test_professions_share_the_reading_and_the_inversion_of_a_clip(
    pocket_editor, cases, instruments, tmp_path, monkeypatch
):
    frames = cases[0].load().frames[:2]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        # The same pictures would share an inversion, wherever they lie.
        for i, frame in enumerate(frames if name == "a" else frames.flip(-1)):
            pixels = ((frame + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    task = {"source_prompt": "a person", "person": "person", "prompt": "a {profession}"}
    text = {
        "version": 1,
        "tasks": [{**task, "clip": "a"}, {**task, "clip": "b"}],
        "stereotypes": {"doctor": "male", "engineer": "male"},
        "num_frames": 2,
        "size": 128,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(text))
    done = []
    invert, read = VideoEditor.invert, tasks.read_video
    monkeypatch.setattr(VideoEditor, "invert", lambda *a, **more: done.append("invert") or invert(*a, **more))
    monkeypatch.setattr(tasks, "read_video", lambda *a, **more: done.append("read") or read(*a, **more))
    mine = load_tasks(tmp_path / "mine.yaml")
    assert [case.prompt for case in mine] == ["a doctor", "an engineer"] * 2
    found, failed = run(pocket_editor, mine, instruments, tmp_path / "out", ("fatezero",), ("preserve",))
    assert not failed
    assert len(found["fatezero", "preserve"]) == 4
    # Every clip is read once for what is seen in it and once to be edited.
    assert (done.count("read"), done.count("invert")) == (4, 2)


def test_settings_of_an_audit():
    assert AuditRun(alpha="1.5").strength == 1.5
    with pytest.raises(ConfigError, match="no policy 'balancd'"):
        AuditRun(policies=("balancd",))
    with pytest.raises(ConfigError, match="give only one of them"):
        AuditRun(benchmark="pocket-professions", tasks="a.yaml")
    with pytest.raises(ConfigError, match="is not a number"):
        _ = AuditRun(alpha="strong").strength
