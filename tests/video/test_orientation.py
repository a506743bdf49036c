"""Pictures stand upright: all eight ways in which a file can say that they lie, for videos and for pictures."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from faircut.errors import VideoError
from faircut.video import read_video, write_video

from ..test_video import write_raw

# Four colours in the corners: no two of the eight ways look the same.
CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24], CORNERS[:16, 24:] = (255, 0, 0), (0, 255, 0)
CORNERS[16:, :24], CORNERS[16:, 24:] = (0, 0, 255), (255, 255, 255)

# (a, b, c, d) of the display matrix -> what FFmpeg's autorotation does with its filters, as seen by ffmpeg 5.1:
# hflip, vflip, both, transpose=cclock_flip, clock, cclock, clock_flip.
EIGHT = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda p: p.transpose(1, 0, 2)[:, ::-1],
    (0, -1, 1, 0): lambda p: p.transpose(1, 0, 2)[::-1],
    (0, -1, -1, 0): lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
}
NOTES = {
    (1, 0, 0, 1): (0, False),
    (-1, 0, 0, 1): (0, True),
    (1, 0, 0, -1): (180, True),
    (-1, 0, 0, -1): (180, False),
    (0, 1, 1, 0): (90, True),
    (0, 1, -1, 0): (90, False),
    (0, -1, 1, 0): (270, False),
    (0, -1, -1, 0): (270, True),
}
# EXIF orientation -> the same, as the standard draws it.
EXIF = {
    1: EIGHT[1, 0, 0, 1],
    2: EIGHT[-1, 0, 0, 1],
    3: EIGHT[-1, 0, 0, -1],
    4: EIGHT[1, 0, 0, -1],
    5: EIGHT[0, 1, 1, 0],
    6: EIGHT[0, 1, -1, 0],
    7: EIGHT[0, -1, -1, 0],
    8: EIGHT[0, -1, 1, 0],
}


def patch_matrix(path, numbers):
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(data)


def same_corners(video, expected):
    picture = (video.frames[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert picture.shape == expected.shape
    height, width = expected.shape[:2]
    for y in (4, height - 5):
        for x in (4, width - 5):
            assert picture[y, x] == pytest.approx(expected[y, x], abs=30), (y, x)


@pytest.mark.parametrize("matrix", EIGHT)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_all_eight_display_matrices(tmp_path, matrix, name):
    path = write_raw(tmp_path / name, [CORNERS] * 2)
    a, b, c, d = (value << 16 for value in matrix)
    patch_matrix(path, (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    video = read_video(path)
    same_corners(video, EIGHT[matrix](CORNERS))
    assert (video.source.rotation, video.source.mirrored) == NOTES[matrix]
    assert any("mirrored" in note for note in video.source.notes) == NOTES[matrix][1]
    assert any("turned" in note for note in video.source.notes) == bool(NOTES[matrix][0])
    # What is written stands upright by itself.
    again = read_video(write_video(video, tmp_path / "b.mp4"))
    assert (again.source.rotation, again.source.mirrored) == (0, False)
    same_corners(again, EIGHT[matrix](CORNERS))


def test_a_matrix_of_zeros_and_a_crooked_one(tmp_path):
    path = write_raw(tmp_path / "a.mp4", [CORNERS] * 2)
    patch_matrix(path, (0,) * 9)
    same_corners(read_video(path), CORNERS)
    tilted = (63000, 18000, 0, -18000, 63000, 0, 0, 0, 1 << 30)
    path = write_raw(tmp_path / "b.mp4", [CORNERS] * 2)
    patch_matrix(path, tilted)
    video = read_video(path)
    same_corners(video, CORNERS)
    assert any("rounded to 0 degrees" in note for note in video.source.notes)


def test_size_is_as_after_turning(tmp_path):
    path = write_raw(tmp_path / "a.mp4", [CORNERS] * 2, aspect=Fraction(3, 2))
    patch_matrix(path, (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    assert read_video(path).size == (72, 32)
    assert read_video(path, size=(36, 16)).size == (36, 16)


def save_turned(path, orientation, picture=CORNERS):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 95}, ".avif": {"quality": 95}, ".webp": {"lossless": True}}
    Image.fromarray(picture).save(path, exif=exif, **options.get(path.suffix, {}))


@pytest.mark.parametrize("orientation", EXIF)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_all_eight_exif_orientations(tmp_path, orientation, suffix):
    path = tmp_path / f"a{suffix}"
    save_turned(path, orientation)
    video = read_video(path)
    same_corners(video, EXIF[orientation](CORNERS))
    if suffix != ".tif":  # Pillow turns these by itself
        assert video.source.rotation == {5: 90, 6: 90, 3: 180, 4: 180, 7: 270, 8: 270}.get(orientation, 0)
        assert video.source.mirrored == (orientation in (2, 4, 5, 7))
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / path.name)
    same_corners(read_video(tmp_path / "folder"), EXIF[orientation](CORNERS))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_of_a_folder_are_turned_before_their_sizes_are_compared(tmp_path, suffix):
    upright = np.ascontiguousarray(EXIF[6](CORNERS))
    save_turned(tmp_path / f"1{suffix}", 6)
    save_turned(tmp_path / f"2{suffix}", 1, upright)
    save_turned(tmp_path / f"3{suffix}", 3, np.ascontiguousarray(upright[::-1, ::-1]))
    video = read_video(tmp_path)
    assert (len(video), video.size) == (3, (48, 32))
    for index in range(3):
        same_corners(video.with_frames(video.frames[[index] * 3]), upright)
    save_turned(tmp_path / f"4{suffix}", 1)
    with pytest.raises(VideoError, match=rf"4\{suffix} is 48x32, the pictures before it are 32x48"):
        read_video(tmp_path)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, value):
    save_turned(tmp_path / "a.jpg", value)
    same_corners(read_video(tmp_path / "a.jpg"), CORNERS)


@pytest.mark.parametrize("suffix", ["avi", "mov", "mkv"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_motion_jpeg_with_exif_stands_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(CORNERS).save(tmp_path / "frame.jpg", exif=exif, quality=95, subsampling=0)
    data = (tmp_path / "frame.jpg").read_bytes()
    with av.open(str(tmp_path / f"clip.{suffix}"), "w") as clip:
        stream = clip.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj444p"
        for index in range(2):
            packet = av.Packet(data)
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            clip.mux(packet)
    video = read_video(tmp_path / f"clip.{suffix}")
    expected = EXIF[orientation](CORNERS)
    assert video.size == expected.shape[:2]
    pixels = ((video.frames[0].permute(1, 2, 0).numpy() + 1) * 127.5)[4::8, 4::8]
    assert np.abs(pixels - expected[4::8, 4::8]).max() < 40
