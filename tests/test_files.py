"""Files and folders appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faircut.errors import ConfigError, VideoError
from faircut.files import (
    Output,
    all_or_nothing,
    atomic_path,
    check_outputs,
    clear_partials,
    foreign_files,
    made_by_faircut,
    replace_all,
    temporary_name,
    write_json,
)
from faircut.video import Video, read_video, write_video


def test_a_file_appears_when_it_is_finished(tmp_path):
    target = tmp_path / "new" / "out.mp4"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == target.parent
        temporary.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert [entry.name for entry in target.parent.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True])
def test_nothing_stays_after_a_failure_and_the_old_one_is_untouched(tmp_path, error, folder):
    target = tmp_path / "out"
    if folder:
        target.mkdir()
        (target / "old").write_text("old")
    else:
        target.write_text("old")

    def write():
        with atomic_path(target) as temporary:
            if folder:
                temporary.mkdir()
                (temporary / "half").write_text("half")
            else:
                temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert ((target / "old") if folder else target).read_text() == "old"


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "frames"
    for name in ("first", "second"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            write_json(temporary / f"{name}.json", {"files": [f"{name}.json", name]})
            (temporary / name).write_text(name)
    assert sorted(entry.name for entry in target.iterdir()) == ["second", "second.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["frames"]


def test_a_file_never_takes_the_place_of_a_folder_nor_a_folder_of_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="another name"), atomic_path(tmp_path / "folder") as temporary:
        temporary.write_text("")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError, match="another name"), atomic_path(tmp_path / "file") as temporary:
        temporary.mkdir()
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_body_that_makes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic_path(tmp_path / "out"):
        pass


def test_several_files_are_moved_all_or_not_at_all(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"new-{name}").write_text("new")
        (tmp_path / name).write_text("old")
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    moves = [(tmp_path / f"new-{name}", tmp_path / name) for name in ("a", "b")]
    with pytest.raises(IsADirectoryError):
        replace_all(moves)
    assert (tmp_path / "a").read_text() == "old"
    (tmp_path / "b").rmdir()
    replace_all(moves)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"


def test_a_move_that_fails_half_way_is_taken_back(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError):
        replace_all([(tmp_path / "new", tmp_path / "a"), (tmp_path / "nowhere", tmp_path / "b")])
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"new": "new", "a": "old"}


def test_a_folder_with_something_of_the_users_is_never_replaced(tmp_path):
    target = tmp_path / "frames"
    for _ in range(2):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            write_json(temporary / "facts.json", {"files": ["facts.json", "sub/latents"]})
            (temporary / "sub").mkdir()
            (temporary / "sub" / "latents").write_text("")
    assert foreign_files(target) == []
    (target / ".DS_Store").write_text("")
    assert foreign_files(target) == []
    (target / "sub" / "notes.txt").write_text("mine")
    assert foreign_files(target) == ["sub/notes.txt"]
    with pytest.raises(ConfigError, match=r"sub/notes.txt.*would be lost"), atomic_path(target) as temporary:
        temporary.mkdir()
    assert (target / "sub" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".gif", ".webp", ".png", ""])
def test_every_kind_of_clip_bears_the_mark_and_still_reads(tmp_path, clip, suffix):
    frames = clip[:1] if suffix == ".png" else clip
    path = write_video(Video.from_frames(frames), tmp_path / f"out{suffix}")
    assert foreign_files(path) == [] if path.is_dir() else made_by_faircut(path)
    assert read_video(path).frames.shape[0] == len(frames)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
def test_a_clip_under_another_name_is_not_ours(tmp_path, clip, suffix):
    path = write_video(Video.from_frames(clip), tmp_path / f"out{suffix}")
    assert made_by_faircut(path)
    # As programs that cut or convert a clip keep its comment.
    kept = path.rename(tmp_path / f"holiday{suffix}")
    assert not made_by_faircut(kept)
    (tmp_path / f"out{suffix}").symlink_to(kept)
    assert made_by_faircut(tmp_path / f"out{suffix}")


def test_results_that_somebody_has_collected_are_no_result(tmp_path, clip):
    for name in ("a.mp4", "b.gif", "00000.gif"):
        write_video(Video.from_frames(clip), tmp_path / "results" / name)
    write_json(tmp_path / "results" / "a.report.json", {})
    assert foreign_files(tmp_path / "results") == ["00000.gif", "a.mp4", "a.report.json", "b.gif"]
    with pytest.raises(VideoError, match="contains other files"):
        write_video(Video.from_frames(clip), tmp_path / "results")


def test_a_way_that_is_not_there_leads_to_nothing_of_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(ConfigError, match="not made by faircut"):
        write_json("missing/../notes.json", {})
    with pytest.raises(ConfigError, match="passes through missing, which is not a folder"):
        check_outputs([Output("missing/../other.json")])
    (tmp_path / "there").mkdir()
    check_outputs([Output("there/../other.json")])


def test_files_that_go_together_reach_other_file_systems_by_links(tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this computer has one file system")
    target = other / f"faircut-{tmp_path.name}-{os.getpid()}.json"
    (tmp_path / "b.json").symlink_to(target)
    try:
        with all_or_nothing({"a": tmp_path / "a.json", "b": tmp_path / "b.json"}) as files:
            for path in files.values():
                write_json(path, {})
        assert made_by_faircut(target)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "b.json"]
        assert not list(other.glob(".*.partial*"))
    finally:
        target.unlink(missing_ok=True)


def test_what_a_dead_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from faircut.files import temporary_name\n"
        "here = Path(sys.argv[1]); temporary_name(here / 'out.mp4').write_text('half')\n"
        "temporary_name(here / 'frames').mkdir()\n"
        "aside = temporary_name(here / 'frames', 'old'); aside.mkdir(); (aside / 'kept').write_text('kept')\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    ours = temporary_name(tmp_path / "mine.mp4")
    ours.write_text("being written")
    (tmp_path / ".of-the-user.partial").write_text("kept")
    assert len(list(tmp_path.iterdir())) == 5
    clear_partials(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([ours.name, ".of-the-user.partial", "kept"])


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "there" / "real.json")
    write_json(tmp_path / "link.json", {})
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "real.json").is_file()
