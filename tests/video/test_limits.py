"""How large a clip may be is found before a frame is decoded, for every kind of source."""

import os
import socket
import struct
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from faircut.errors import VideoError
from faircut.video import limits, read_video, write_video

from ..test_video import smooth, write_raw

GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes of memory are free."""

    def set_free(count):
        monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    return set_free


@pytest.fixture
def undecoded(monkeypatch):
    """Fails if Pillow decodes anything."""
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("a picture was decoded"))


def gif_that_declares(width, height):
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b"


@pytest.mark.parametrize("size", [(9000, 9000), (8193, 16), (16, 65535)])
def test_a_small_gif_that_declares_much_is_refused_before_it_is_decoded(tmp_path, undecoded, size):
    (tmp_path / "a.gif").write_bytes(gif_that_declares(*size))
    with pytest.raises(VideoError, match=rf"a\.gif.*{size[0]}x{size[1]}.*too large.*size="):
        read_video(tmp_path / "a.gif")


def test_a_gif_frame_larger_than_the_canvas_counts(tmp_path, free, undecoded):
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0) + b"\x02\x02\x44\x01\x00\x3b"
    (tmp_path / "a.gif").write_bytes(gif_that_declares(16, 16)[:-1] + frame)
    free(GB)
    with pytest.raises(VideoError, match=r"60000x60000.*half of the free memory"):
        read_video(tmp_path / "a.gif")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.mp4", "a.webm", "frames"])
def test_frames_and_size_that_would_fit_are_said(tmp_path, free, name):
    many = 1 if name == "a.png" else 6
    write_video(smooth(many, 64, 96), tmp_path / name, fps=8)
    decoding, kept = 64 * 96 * 64, 64 * 96 * 24
    free(2 * (decoding + kept * many + 1000))
    assert len(read_video(tmp_path / name)) == many
    free(2 * (decoding + kept * many - 1000))
    if many == 1:
        with pytest.raises(VideoError, match=r"one frame of 96x64.*size="):
            read_video(tmp_path / name)
        return
    with pytest.raises(VideoError, match=r"6 frames of 96x64.*num_frames=5 at most, or size=\d+"):
        read_video(tmp_path / name)
    assert len(read_video(tmp_path / name, num_frames=5)) == 5
    assert read_video(tmp_path / name, size=32).size == (32, 48)
    # Frames that are not asked for do not count.
    assert len(read_video(tmp_path / name, stride=2)) == 3
    free(2 * decoding // 2)
    with pytest.raises(VideoError, match=r"scale the file down first|fit into half"):
        read_video(tmp_path / name, size=8)


def test_more_frames_than_there_are_is_another_complaint(tmp_path, free):
    path = write_video(smooth(6, 64, 96), tmp_path / "a.webm", fps=8)
    free(2 * 64 * 96 * (64 + 24 * 7))
    with pytest.raises(VideoError, match="has 6 frames"):
        read_video(path, num_frames=10**9)


def test_a_source_of_unknown_length_is_read_until_memory_ends(tmp_path, free):
    path = write_video(smooth(6, 64, 96), tmp_path / "a.webm", fps=8)
    free(2 * 64 * 96 * (64 + 24 * 4))
    with pytest.raises(VideoError, match=r"more than 4 frames of 96x64.*num_frames=4 at most"):
        read_video(path, max_frames=None)
    assert len(read_video(path, num_frames=4)) == 4


@pytest.mark.parametrize("size", [8193, 10**8, 10**30, (16, 10**8), [64, 10**9]])
def test_sizes_that_no_memory_holds_are_said_before_reading(tmp_path, size):
    with pytest.raises(VideoError, match="at most 8192"):
        read_video(tmp_path / "nothing.mp4", size=size)


@pytest.mark.parametrize("size", ["64", 64.0, (), (64, 64, 64), (64, "64")])
def test_sizes_of_another_type(tmp_path, size):
    with pytest.raises(VideoError, match="size="):
        read_video(tmp_path / "nothing.mp4", size=size)


@pytest.mark.parametrize("size", [64, (64, 64)])
def test_a_thin_picture_is_not_made_enormous(tmp_path, size):
    Image.new("RGB", (4000, 1)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"4000x1.*256000x64.*crop"):
        read_video(tmp_path / "a.png", size=size)


def test_pixels_that_are_no_squares_count_as_they_will_be(tmp_path):
    path = write_raw(tmp_path / "a.mp4", [np.zeros((32, 480, 3), np.uint8)] * 2, aspect=Fraction(20, 1))
    with pytest.raises(VideoError, match=r"9600x32.*too large"):
        read_video(path)


def test_pillows_own_limit_is_not_a_second_rule(tmp_path, monkeypatch, free):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_video(tmp_path / "a.png").size == (64, 64)
    assert Image.MAX_IMAGE_PIXELS == 100
    free(64 * 64 * 64)
    with pytest.raises(VideoError, match="half of the free memory"):
        read_video(tmp_path / "a.png")


@pytest.mark.parametrize("place", ["clip", "in a folder", "sound"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, place, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    folder = tmp_path / "pictures"
    folder.mkdir()
    path = folder / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("pictures/a.png")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    if place == "clip":
        with pytest.raises(VideoError, match="contains no pictures" if kind == "folder" else f"is a {kind}"):
            read_video(path)
    elif place == "in a folder":
        Image.new("RGB", (16, 16)).save(folder / "b.png")
        with pytest.raises(VideoError, match=f"a.png is a {kind}"):
            read_video(folder)
    else:
        with pytest.raises(VideoError, match=f"a.png is a {kind}.*source of sound"):
            write_video(smooth(2), tmp_path / "out.mp4", fps=8, audio_from=path)
        assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.png", "out"])
def test_a_pipe_is_not_written_over(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(VideoError, match="is a pipe"):
        write_video(smooth(1), tmp_path / name, fps=8)
    assert (tmp_path / name).is_fifo()


def test_empty_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("a.png")
    with pytest.raises(VideoError, match="empty"):
        read_video("")
    with pytest.raises(VideoError, match="empty"):
        write_video(smooth(1), "", fps=8)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
