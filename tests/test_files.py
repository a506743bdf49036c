"""Files and folders appear whole or not at all."""

import pytest

from faircut.files import atomic_path


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
            (temporary / name).write_text(name)
    assert [entry.name for entry in target.iterdir()] == ["second"]
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
