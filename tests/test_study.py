"""A study: a page that tells nothing, answers that are checked, and shares that are known by hand."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
import yaml

from faircut.errors import ConfigError, VideoError
from faircut.study import Answer, Answers, load_answers, load_key, load_study, make_study, save_result, summarise
from faircut.video import Video, read_video, write_video

METHODS = ("fatezero", "fame", "videograin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips, each with the results of three methods: pictures of other brightness."""
    folder = tmp_path_factory.mktemp("study")
    items = []
    for number in range(2):
        names = {method: f"{method}{number}.mp4" for method in METHODS}
        for k, name in enumerate((f"clip{number}.mp4", *names.values())):
            frames = torch.full((3, 3, 24, 32), k / 4 - 0.5 + number / 10)
            write_video(Video.from_frames(frames, 8), folder / name)
        items.append({"prompt": f"a <dog> & </script> {number}", "source": f"clip{number}.mp4", "results": names})
    (folder / "study.yaml").write_text(yaml.safe_dump({"version": 1, "items": items}))
    return folder


@pytest.fixture(scope="module")
def key(folder):
    return make_study(load_study(folder / "study.yaml"), folder, folder / "study.html", seed=3)


@pytest.fixture(scope="module")
def page(folder, key):
    return (folder / "study.html").read_text(encoding="utf-8")


class Parts(HTMLParser):
    """Attributes of all elements, and the text of the scripts."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.scripts, self._script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._script = tag == "script"

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)


def data_of(page):
    return json.loads(Parts(page).scripts[0])


def test_the_page_tells_no_method_and_loads_nothing(page, key):
    parts = Parts(page)
    assert len(parts.scripts) == 2
    assert not any(name in page for name in (*METHODS, ".mp4"))
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert not [a for a in parts.attributes if a[1] in ("src", "href")]
    assert "default-src 'none'" in page
    data = data_of(page)
    assert [item["prompt"] for item in data["items"]] == ["a <dog> & </script> 0", "a <dog> & </script> 1"]
    # Three methods are three pairs, of both clips; which is named first says nothing.
    assert len(data["trials"]) == 6
    assert all(trial[1] < trial[2] and key.clips[trial[1]].item == trial[0] for trial in data["trials"])


def test_the_page_holds_each_clip_with_its_source_s_times(page, key, folder, tmp_path):
    data = data_of(page)
    for name, clip in key.clips.items():
        head, _, content = data["items"][clip.item]["clips"][name].partition(",")
        assert head == "data:video/mp4;base64"
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(base64.b64decode(content))
        shown, made = read_video(path), read_video(folder / clip.path)
        assert shown.size == (96, 128)
        assert shown.times == made.times
        assert (shown.frames.mean() - made.frames.mean()).abs() < 0.02


def test_names_and_study_follow_the_seed_and_the_content(folder, key, tmp_path):
    file = load_study(folder / "study.yaml")
    again, other = (make_study(file, folder, tmp_path / f"{seed}.html", seed=seed) for seed in (3, 4))
    assert again == key == load_key(folder / "study.key.json")
    assert other.study != key.study
    assert not set(other.clips) & set(key.clips)


def test_a_key_that_was_changed(folder, key, tmp_path):
    text = (folder / "study.key.json").read_text()
    (tmp_path / "key.json").write_text(text.replace('"method": "fame"', '"method": "fatezero"', 1))
    with pytest.raises(ConfigError, match="was changed"):
        load_key(tmp_path / "key.json")
    (tmp_path / "key.json").write_text("[]")
    with pytest.raises(ConfigError, match="not the key of a study"):
        load_key(tmp_path / "key.json")


def named(key, item, method):
    return next(name for name, clip in key.clips.items() if (clip.item, clip.method) == (item, method))


def answer(key, item, won, lost, question="editing", flip=False):
    a, b = named(key, item, won), named(key, item, lost)
    return Answer(question, *((b, a) if flip else (a, b)), a)


def write(path, answers):
    path.write_text(json.dumps({**answers.__dict__, "answers": [a.__dict__ for a in answers.answers]}))
    return path


def test_shares_are_counted_by_hand(key):
    one = Answers(key.study, "one", tuple(answer(key, item, "fame", "fatezero") for item in (0, 1)))
    two = Answers(
        key.study,
        "two",
        (
            answer(key, 0, "fame", "fatezero", flip=True),
            answer(key, 1, "fatezero", "fame", flip=True),
            answer(key, 1, "fame", "videograin"),
            answer(key, 0, "fatezero", "fame", question="quality"),
        ),
    )
    found = summarise([one, two], key)
    assert (found.participants, found.answers) == (2, 6)
    # Of four cells fame has 1, 1, 1 and (0 + 1) / 2.
    fame = found.preference["editing"]["fame"]
    assert (fame.value, fame.n) == (0.875, 4)
    assert 0.5 <= fame.low < fame.value < fame.high == 1.0
    assert found.preference["editing"]["fatezero"].value == 0.25
    assert found.pairs["editing"]["fame over fatezero"].value == 0.75
    assert found.pairs["editing"]["fame over videograin"].value == 1.0
    assert found.preference["quality"]["fame"].value == 0.0
    assert found.preference["consistency"]["fame"].n == 0
    # Cells of (participant, clip): 1, 1, then (0 + 1) / 2 and (0 + 1) / 2.
    assert found.left.value == 0.75


def test_a_result_as_json(key, tmp_path):
    found = summarise([Answers(key.study, "one", (answer(key, 0, "fame", "fatezero"),))], key)
    data = json.loads(save_result(found, tmp_path / "found.json").read_text())
    assert data["preference"]["editing"]["fame"] == {"value": 1.0, "n": 1, "low": 1.0, "high": 1.0}
    assert data["preference"]["quality"]["fame"] == {"value": None, "n": 0, "low": None, "high": None}


def test_answers_are_read_once_and_of_this_study_only(key, tmp_path):
    good = Answers(key.study, "one", (answer(key, 0, "fame", "fatezero"),))
    first, second = (write(tmp_path / name, good) for name in ("a.json", "b.json"))
    assert load_answers([first], key) == (good,)
    with pytest.raises(ConfigError, match=r"b\.json and .*a\.json are both from the participant one"):
        load_answers([first, second], key)
    write(first, Answers("0" * 16, "one", good.answers))
    with pytest.raises(ConfigError, match="answers the study 0000000000000000"):
        load_answers([first], key)
    with pytest.raises(ConfigError, match="there are no answers"):
        load_answers([write(first, Answers(key.study, "one", ()))], key)
    first.write_text(second.read_text().replace('"participant"', '"name"'))
    with pytest.raises(ConfigError, match="no setting 'name'"):
        load_answers([first], key)
    first.write_text("{")
    with pytest.raises(ConfigError, match="cannot read a file of answers"):
        load_answers([first], key)


def test_answers_that_the_page_cannot_have_written(key, tmp_path):
    good = answer(key, 0, "fame", "fatezero")
    other = named(key, 1, "fame")
    for changed, match in (
        ((Answer("looks", good.left, good.right, good.choice),), "no question 'looks'"),
        ((Answer("editing", good.left, "f" * 16, good.left),), "no clip 'ffffffffffffffff'"),
        ((Answer("editing", good.left, other, good.left),), "not a pair"),
        ((Answer("editing", good.left, good.left, good.left),), "not a pair"),
        ((Answer("editing", good.left, good.right, other),), "not one of the two"),
        (
            (good, Answer("editing", good.right, good.left, good.left)),
            "answer 1: editing is answered twice for the same pair",
        ),
    ):
        with pytest.raises(ConfigError, match=match):
            load_answers([write(tmp_path / "a.json", Answers(key.study, "one", changed))], key)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2}, "version 2"),
        ({"items": []}, "no items"),
        ({"methods": []}, "no setting 'methods'"),
        ({"items": [{"prompt": "a dog", "source": "clip0.mp4", "results": {"fame": "fame0.mp4"}}]}, "1 results"),
    ],
)
def test_study_files_that_compare_nothing(folder, tmp_path, change, match):
    data = yaml.safe_load((folder / "study.yaml").read_text()) | change
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=match):
        load_study(tmp_path / "study.yaml")


def test_clips_that_are_missing_or_would_tell_themselves_apart(folder, key, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    short = read_video(folder / "fame1.mp4", num_frames=2)
    write_video(short, tmp_path / "copy" / "fame1.mp4")
    file = load_study(tmp_path / "copy" / "study.yaml")
    before = (tmp_path / "copy" / "study.html").read_bytes()
    with pytest.raises(VideoError, match=r"2 frames of 32x24, but its source .*clip1\.mp4 has 3 frames of 32x24"):
        make_study(file, tmp_path / "copy", tmp_path / "copy" / "study.html")
    assert (tmp_path / "copy" / "study.html").read_bytes() == before
    (tmp_path / "copy" / "fame1.mp4").unlink()
    with pytest.raises(VideoError, match=r"not in .*: fame1\.mp4"):
        load_study(tmp_path / "copy" / "study.yaml")
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        make_study(file, folder, tmp_path / "study.htm")
    make_study(file, folder, tmp_path / "page.html", seed=1)
    make_study(file, folder, tmp_path / "page.html", seed=1)
    with pytest.raises(ConfigError, match="the key of another study"):
        make_study(file, folder, tmp_path / "page.html", seed=2)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_sides_and_order_are_each_participant_s_own(page, key, tmp_path):
    script = (
        Parts(page).scripts[1]
        + """
        const study = JSON.parse(require("fs").readFileSync(process.argv[2]));
        const plans = Array.from({length: 400}, (_, k) => plan(study, "participant" + k));
        const answers = answersOf(plans[0][0], {editing: "left", quality: "right"});
        console.log(JSON.stringify({plans, again: plan(study, "participant0"), answers}));
    """
    )
    (tmp_path / "page.js").write_text(script)
    (tmp_path / "data.json").write_text(json.dumps(data_of(page)))
    done = subprocess.run(
        ["node", tmp_path / "page.js", tmp_path / "data.json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    pairs = sorted(trial[1:] for trial in data_of(page)["trials"])
    for plan in found["plans"]:
        assert sorted(sorted((trial["left"], trial["right"])) for trial in plan) == pairs
        assert all(key.clips[trial["left"]].item == trial["item"] for trial in plan)
    assert found["again"] == found["plans"][0] != found["plans"][1]
    swapped = sum(trial["left"] > trial["right"] for plan in found["plans"] for trial in plan) / 2400
    assert swapped == pytest.approx(0.5, abs=0.05)
    firsts = [(plan[0]["item"], *sorted((plan[0]["left"], plan[0]["right"]))) for plan in found["plans"]]
    assert all(firsts.count(first) / 400 == pytest.approx(1 / 6, abs=0.06) for first in set(firsts))
    assert len(set(firsts)) == 6
    # What the page writes is what is read.
    answers = Answers(key.study, "one", tuple(Answer(**a) for a in found["answers"]))
    assert load_answers([write(tmp_path / "answers.json", answers)], key) == (answers,)
    assert [a.choice for a in answers.answers] == [answers.answers[0].left, answers.answers[0].right]


def test_every_control_can_be_reached_with_the_keyboard(page):
    assert re.findall(r"<(?:div|span|video)[^>]*on(?:click|key)", page) == []
    assert page.count("<button") == 3
    assert 'type: "radio"' in page
    assert '"legend"' in page
