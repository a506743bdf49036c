"""Clips survive the way in and out: pictures, colours, times, orientation, size, sound; what is wrong is said."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from faircut import video as video_module
from faircut.errors import VideoError
from faircut.video import Video, read_video, side_by_side, write_video

VARYING = tuple(Fraction(n, 100) for n in (0, 10, 15, 40, 50, 52))  # a variable frame rate, to the hundredth for gif
VARYING_END = Fraction(55, 100)


def smooth(frames=6, height=32, width=48, shift=0.1):
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack(
        [
            torch.stack([torch.sin(2 * x + i * shift), torch.cos(2 * y - i * shift), torch.sin(x + y)]) * 0.8
            for i in range(frames)
        ]
    )


def numbered(frames):
    """Grey frames whose brightness is their number: 10, 20, 30 ... of 255."""
    levels = torch.arange(1, frames + 1) * 10 / 127.5 - 1
    return levels[:, None, None, None].expand(-1, 3, 32, 48).contiguous()


def numbers(video):
    return [round((float(frame.mean()) + 1) * 12.75) - 1 for frame in video.frames]


def psnr(a, b):
    return float(10 * torch.log10(4 / ((a - b) ** 2).mean()))


def write_raw(
    path, pictures, *, codec="libx264", pix_fmt="yuv420p", rate=10, matrix=None, full=False, tag=True, aspect=None
):
    """Write uint8 (height, width, channel) pictures with PyAV alone, independent of the writer under test."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "5"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if tag and matrix:
            stream.codec_context.colorspace = {"ITU709": 1, "ITU601": 6}[matrix]
            stream.codec_context.color_range = 2 if full else 1
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=matrix or "ITU601", dst_color_range="JPEG" if full else "MPEG"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sine(path, codec, *, seconds=2.0, rate=44100, level=0.3):
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264" if path.suffix != ".webm" else "libvpx-vp9", rate=10)
        picture.width, picture.height, picture.pix_fmt = 48, 32, "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.codec_context.layout = "mono"
        for index in range(int(seconds * 10)):
            data = np.full((32, 48, 3), 10 * (index + 1), np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(data, format="rgb24").reformat(format="yuv420p")))
        container.mux(picture.encode())
        # Silence for a second, then a tone: where a cut begins can be heard.
        samples = np.arange(int(seconds * rate))
        wave = (level * np.sin(2 * np.pi * 440 * samples / rate) * (samples >= rate)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(sound.codec_context.format, "mono", rate)
        for part in resampler.resample(frame):
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return path


def loudness(path):
    """Seconds of sound, and the second at which the tone begins."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        parts = [
            (frame.time, np.abs(frame.to_ndarray().astype(np.float64)).ravel()) for frame in container.decode(audio=0)
        ]
    peak = max(part.max() for _, part in parts)
    onset = next(time + np.argmax(part > peak / 2) / rate for time, part in parts if (part > peak / 2).any())
    return sum(len(part) for _, part in parts) / rate, onset


# Pictures and colours


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.webp", "a.gif", "frames"])
def test_pictures_and_times_survive(tmp_path, name):
    clip = Video(smooth(height=64, width=96), VARYING, VARYING_END)
    back = read_video(write_video(clip, tmp_path / name))
    assert back.size == (64, 96)
    assert (back.times, back.duration) == (clip.times, clip.duration)
    assert psnr(back.frames, clip.frames) > (25 if name == "a.gif" else 38)
    assert back.frames.dtype == torch.float32
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.webp", "a.gif", "frames"])
def test_flat_colours_survive_and_equal_frames_are_not_joined(tmp_path, name):
    colours = torch.tensor([[200, 40, 90], [200, 40, 90], [20, 180, 220], [250, 250, 5], [0, 0, 0], [255, 255, 255]])
    frames = (colours / 127.5 - 1)[:, :, None, None].expand(-1, -1, 32, 48).contiguous()
    back = read_video(write_video(frames, tmp_path / name, fps=8))
    assert len(back) == 6
    assert back.fps == 8
    assert float((back.frames - frames).abs().max()) * 127.5 <= 3.01


def test_mp4_is_tagged_and_converted_as_bt709(tmp_path):
    frames = (torch.tensor([200, 40, 90]) / 127.5 - 1)[None, :, None, None].expand(2, 3, 32, 48).contiguous()
    with av.open(str(write_video(frames, tmp_path / "a.mp4", fps=8))) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
        y, u, v = (np.frombuffer(bytes(plane), np.uint8)[0] for plane in frame.planes)
    # BT.709: Y = .2126 R + .7152 G + .0722 B, limited range.
    assert [int(y), int(u), int(v)] == pytest.approx([82.7, 133.9, 196.3], abs=1.5)


@pytest.mark.parametrize(("matrix", "full"), [("ITU709", False), ("ITU601", False), ("ITU709", True), ("ITU601", True)])
def test_matrix_and_range_of_the_source_are_honoured(tmp_path, matrix, full):
    colour = np.array([200, 40, 90], np.uint8)
    # FFmpeg marks full range by the pixel format in h264 and by the frame's range in vp9.
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")):
        pictures = [np.full((32, 48, 3), colour)] * 2
        path = write_raw(tmp_path / name, pictures, codec=codec, matrix=matrix, full=full)
        back = (read_video(path).frames[0].mean((1, 2)) + 1) * 127.5
        assert back.tolist() == pytest.approx(colour.tolist(), abs=2.5)


def test_an_unnamed_matrix_is_bt601_for_small_pictures_and_said(tmp_path):
    path = write_raw(tmp_path / "a.mp4", [np.full((32, 48, 3), (200, 40, 90), np.uint8)] * 2, tag=False)
    video = read_video(path)
    assert any("no colour matrix" in note for note in video.source.notes)
    assert ((video.frames[0].mean((1, 2)) + 1) * 127.5).tolist() == pytest.approx([200, 40, 90], abs=2.5)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.gif", "a.webp", "frames"])
def test_odd_sizes_survive(tmp_path, name):
    path = write_video(smooth(3, 33, 51), tmp_path / name, fps=8)
    assert read_video(path).size == (33, 51)
    if path.suffix in (".mp4", ".mov", ".webm"):
        with av.open(str(path)) as container:
            assert {(frame.height, frame.width) for frame in container.decode(video=0)} == {(33, 51)}


def test_even_sizes_use_the_pixel_format_that_plays_everywhere(tmp_path):
    with av.open(str(write_video(smooth(2), tmp_path / "a.mp4", fps=8))) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_non_square_pixels_are_made_square_and_said(tmp_path):
    video = read_video(write_raw(tmp_path / "a.mp4", [np.zeros((32, 48, 3), np.uint8)] * 2, aspect=Fraction(3, 2)))
    assert video.size == (32, 72)
    assert video.source.size == (32, 48)
    assert video.source.pixel_aspect == Fraction(3, 2)
    assert any("square" in note for note in video.source.notes)


def turn_header(path, matrix):
    """Patch the display matrix of the first track header (version 0: 40 bytes after its version and flags)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[at : at + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *(value << 16 for value in matrix[:4]), *matrix[4:])
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("clockwise", "matrix"),
    [
        (90, (0, 1, 0, -1, 0, 0, 0, 0, 1 << 30)),
        (180, (-1, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30)),
        (270, (0, -1, 0, 1, 0, 0, 0, 0, 1 << 30)),
    ],
)
def test_rotation_is_applied(tmp_path, clockwise, matrix):
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24] = 255  # bright at the top left as stored
    path = write_raw(tmp_path / "a.mp4", [picture] * 3)
    turn_header(path, matrix)
    video = read_video(path)
    assert video.source.rotation == clockwise
    assert video.size == ((48, 32) if clockwise != 180 else (32, 48))
    expected = np.rot90(picture[..., 0] > 0, k=-clockwise // 90)
    assert ((video.frames[0, 0].numpy() > 0) == expected).mean() > 0.99
    # And it is not turned again on the way back.
    again = read_video(write_video(video, tmp_path / "b.mp4"))
    assert again.source.rotation == 0
    assert psnr(again.frames, video.frames) > 30


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_alpha_is_laid_over_black_and_said(tmp_path, name):
    Image.new("RGBA", (48, 32), (255, 255, 255, 128)).save(tmp_path / name, lossless=True)
    video = read_video(tmp_path / name)
    assert float(video.frames.mean() + 1) * 127.5 == pytest.approx(128, abs=1)
    assert "alpha was laid over black" in video.source.notes


def test_sixteen_bit_pictures_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((32, 48), 30000, np.uint16)).save(tmp_path / "a.png")
    assert float(read_video(tmp_path / "a.png").frames.mean() + 1) * 127.5 == pytest.approx(117, abs=0.6)


# Times


def test_ntsc_rate_is_exact(tmp_path):
    for name in ("a.mp4", "a.webm"):
        video = read_video(write_video(smooth(), tmp_path / name, fps=29.97))
        assert video.fps == Fraction(30000, 1001)
        assert video.times[3] == Fraction(3003, 30000)


def test_gif_of_pillow_keeps_its_durations(tmp_path):
    pictures = [Image.new("RGB", (48, 32), (40 * i, 0, 0)) for i in range(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[50, 200, 100, 70])
    video = read_video(tmp_path / "a.gif")
    assert [float(duration) for duration in video.durations] == [0.05, 0.2, 0.1, 0.07]
    back = read_video(write_video(video, tmp_path / "b.webp"))
    assert back.durations == video.durations


def test_pillow_sees_the_times_of_our_gif_and_webp(tmp_path):
    for name in ("a.gif", "a.webp"):
        write_video(Video(smooth(), VARYING, VARYING_END), tmp_path / name)
        with Image.open(tmp_path / name) as image:
            seen = []
            for index in range(image.n_frames):
                image.seek(index)
                image.load()
                seen.append(image.info["duration"])
            assert seen == [100, 50, 250, 100, 20, 30]
            assert image.info["loop"] == 0


def test_a_gif_refuses_what_it_cannot_show(tmp_path):
    with pytest.raises(VideoError, match="fps=50"):
        write_video(smooth(), tmp_path / "a.gif", fps=60)
    assert list(tmp_path.iterdir()) == []


def test_fps_replaces_the_times(tmp_path):
    clip = Video(smooth(), VARYING, VARYING_END)
    assert read_video(write_video(clip, tmp_path / "a.mp4", fps=12)).fps == 12


# Choosing frames


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "frames"])
@pytest.mark.parametrize(
    ("choice", "kept", "duration"),
    [
        ({}, range(20), 2.0),
        ({"num_frames": 4}, range(4), 0.4),
        ({"num_frames": 4, "start": 3, "stride": 2}, range(3, 11, 2), 0.8),
        ({"start": 5, "end": 9}, range(5, 9), 0.4),
        ({"stride": 6}, range(0, 20, 6), 2.0),
        ({"num_frames": 2, "start": 18}, range(18, 20), 0.2),
        ({"num_frames": 2, "start": 4, "stride": 3, "end": 8}, (4, 7), 0.4),
    ],
)
def test_frames_are_chosen_by_number(tmp_path, name, choice, kept, duration):
    path = write_video(numbered(20), tmp_path / name, fps=10)
    video = read_video(path, **choice)
    assert numbers(video) == list(kept)
    assert float(video.duration) == pytest.approx(duration)
    step = choice.get("stride", 1)
    assert [float(time) for time in video.times] == pytest.approx([i * step / 10 for i in range(len(kept))])
    assert float(video.source.start_time) == pytest.approx(kept[0] / 10)


def test_stride_merges_varying_durations(tmp_path):
    path = write_video(Video(smooth(), VARYING, VARYING_END), tmp_path / "a.mp4")
    video = read_video(path, stride=2)
    assert video.durations == (Fraction(15, 100), Fraction(35, 100), Fraction(5, 100))
    assert read_video(path, start=1, num_frames=2).durations == (Fraction(5, 100), Fraction(25, 100))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "frames"])
def test_too_long_is_said_with_what_to_pass(tmp_path, name):
    path = write_video(numbered(20), tmp_path / name, fps=10)
    with pytest.raises(VideoError, match=r"20 frames \(2\.0 s.*num_frames=8.*stride=3.*max_frames=20"):
        read_video(path, max_frames=8)
    assert len(read_video(path, max_frames=8, stride=3)) == 7
    assert len(read_video(path, max_frames=None)) == 20


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"num_frames": 7}, "has 6 frames.*num_frames=6 at most"),
        ({"num_frames": 3, "stride": 4}, "has 6 frames.*needs 9.*num_frames=2 at most, or stride=2"),
        ({"start": 6}, "numbered 0 to 5"),
        ({"end": 9}, "end=6 at most"),
        ({"start": 3, "end": 3}, "leaves no frames"),
        ({"num_frames": 4, "end": 3}, "at most 3"),
        ({"num_frames": 0}, "num_frames=0"),
        ({"stride": 0}, "stride=0"),
        ({"size": 4}, "at least 8"),
        ({"fps": 10}, "its own frame times"),
    ],
)
def test_impossible_choices_say_what_is_possible(tmp_path, choice, message):
    path = write_video(smooth(), tmp_path / "a.mp4", fps=8)
    with pytest.raises(VideoError, match=message):
        read_video(path, **choice)


def test_size_scales_and_crops(tmp_path):
    path = write_video(smooth(2, 40, 80), tmp_path / "frames", fps=8)
    assert read_video(path, size=20).size == (20, 40)
    square = read_video(path, size=(20, 20))
    assert square.size == (20, 20)
    assert any("cropped" in note for note in square.source.notes)
    whole = torch.nn.functional.interpolate(smooth(2, 40, 80), (20, 40), mode="area")
    assert psnr(square.frames, whole[..., 10:30]) > 35


# Broken and impossible sources


def test_truncated_mp4_says_how_much_is_left_and_gives_it(tmp_path):
    noise = torch.rand(20, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name in ("a.mp4", "a.webm"):
        path = write_video(noise, tmp_path / name, fps=8)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        with pytest.raises(VideoError, match=r"truncated or damaged.*: \d+.* could be read.*num_frames=\d+") as caught:
            read_video(path)
        readable = caught.value.readable
        assert 5 < readable < 15
        assert len(read_video(path, num_frames=readable)) == readable
        with pytest.raises(VideoError, match="truncated"):
            read_video(path, num_frames=readable + 1)


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_truncated_animation(tmp_path, name):
    path = write_video(smooth(8), tmp_path / name, fps=8)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(VideoError, match=r"truncated|cannot be read|can be read"):
        read_video(path)


def test_a_gif_that_breaks_off_between_two_frames(tmp_path):
    path = write_video(smooth(8), tmp_path / "a.gif", fps=8)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\x21\xf9\x04")])
    with pytest.raises(VideoError, match=r"truncated.*: 7 frames could be read"):
        read_video(path)
    assert len(read_video(path, num_frames=7)) == 7


def test_a_playlist_is_not_followed(tmp_path):
    write_video(smooth(), tmp_path / "private.mp4", fps=8)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile private.mp4\n")
    with pytest.raises(VideoError, match="not a video"):
        read_video(tmp_path / "list.mp4")


def test_alpha_of_vp9_is_laid_over_black(tmp_path):
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=8, options={"auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        picture = np.full((32, 48, 4), 255, np.uint8)
        picture[:, :24, 3] = 128
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format="yuva420p")))
        container.mux(stream.encode())
    video = read_video(tmp_path / "a.webm")
    assert "alpha was laid over black" in video.source.notes
    assert ((video.frames[:, :, 16, (8, 40)].mean((0, 1)) + 1) * 127.5).tolist() == pytest.approx([128, 255], abs=4)


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 30)
    (tmp_path / "text.txt").write_text("not a video\n" * 30)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "nothing").mkdir()
    for name, message in {
        "missing.mp4": "no such file",
        "empty.mp4": "is empty",
        "text.mp4": "not a video",
        "text.txt": "not a video",
        "picture.png": "not a picture",
        "nothing": "contains no pictures",
    }.items():
        with pytest.raises(VideoError, match=message):
            read_video(tmp_path / name)


def test_a_file_with_sound_alone(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        stream.codec_context.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match=r"no video stream.*audio"):
        read_video(tmp_path / "a.m4a")


def test_too_small(tmp_path):
    Image.new("RGB", (48, 7)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"48x7.*too small.*8x8"):
        read_video(tmp_path / "a.png")
    with pytest.raises(VideoError, match="too small"):
        Video.from_frames(torch.zeros(1, 3, 7, 48))


def test_folders(tmp_path):
    for index in (1, 2, 10):
        Image.new("RGB", (48, 32), (index * 20,) * 3).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("ignored")
    video = read_video(tmp_path)
    assert [round((float(frame.mean()) + 1) * 127.5 / 20) for frame in video.frames] == [1, 2, 10]
    assert video.fps == 8
    assert any("8 fps are assumed" in note for note in video.source.notes)
    assert read_video(tmp_path, fps=24).fps == 24
    Image.new("RGB", (50, 32)).save(tmp_path / "frame11.png")
    with pytest.raises(VideoError, match=r"frame11\.png is 50x32.*48x32"):
        read_video(tmp_path)
    assert len(read_video(tmp_path, num_frames=2)) == 2
    (tmp_path / "frame11.png").write_bytes((tmp_path / "frame10.png").read_bytes()[:60])
    with pytest.raises(VideoError, match=r"frame11\.png"):
        read_video(tmp_path)


def test_a_picture_is_a_clip_of_one_frame(tmp_path):
    Image.new("RGB", (48, 32)).save(tmp_path / "a.jpg")
    video = read_video(tmp_path / "a.jpg")
    assert (len(video), video.fps) == (1, 8)
    assert write_video(video, tmp_path / "b.png").exists()
    with pytest.raises(VideoError, match=r"has 6.*folder"):
        write_video(smooth(), tmp_path / "c.png", fps=8)


# Sound


@pytest.mark.parametrize(
    ("source", "codec", "target", "becomes"),
    [
        ("a.mp4", "aac", "b.mp4", "aac"),
        ("a.mp4", "aac", "b.webm", "opus"),
        ("a.webm", "libopus", "b.mp4", "opus"),
        ("a.mov", "pcm_s16le", "b.mp4", "aac"),
        ("a.mov", "pcm_s16le", "b.mov", "pcm_s16le"),
    ],
)
def test_sound_is_carried_over_and_cut_to_the_kept_frames(tmp_path, source, codec, target, becomes):
    path = write_sine(tmp_path / source, codec, rate=48000 if codec == "libopus" else 44100)
    whole = read_video(path)
    assert whole.source.audio
    part = read_video(path, start=5, num_frames=5, stride=2)
    for video, seconds, onset in ((whole, 2.0, 1.0), (part, 1.0, 0.5)):
        out = write_video(video.with_frames(-video.frames), tmp_path / target)
        with av.open(str(out)) as container:
            assert container.streams.audio[0].codec_context.name.removeprefix("lib") == becomes
        heard, begins = loudness(out)
        assert heard == pytest.approx(seconds, abs=0.06)
        assert begins == pytest.approx(onset, abs=0.03)
        assert read_video(out).duration == video.duration


def test_sound_can_be_left_out_or_taken_from_elsewhere(tmp_path):
    path = write_sine(tmp_path / "a.mp4", "aac")
    video = read_video(path)
    assert not read_video(write_video(video, tmp_path / "b.mp4", audio_from=False)).source.audio
    assert read_video(write_video(smooth(), tmp_path / "c.mp4", fps=8, audio_from=path)).source.audio
    with pytest.warns(UserWarning, match=r"sound.*left out"):
        write_video(video, tmp_path / "d.mp4", fps=20)
    with pytest.raises(VideoError, match="cannot hold sound"):
        write_video(video, tmp_path / "e.gif", audio_from=path)
    with pytest.raises(VideoError, match="has no sound"):
        write_video(video, tmp_path / "e.mp4", audio_from=tmp_path / "b.mp4")
    path.unlink()
    with pytest.raises(VideoError, match="audio_from=False"):
        write_video(video, tmp_path / "e.mp4")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b.mp4", "c.mp4", "d.mp4"]


# Writing whole or not at all


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.webp", "frames"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_half_written_stays(tmp_path, monkeypatch, name, error):
    calls = 0

    def fail(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise error("stop")
        return original(*args, **kwargs)

    owner, attribute = (av.VideoFrame, "from_ndarray") if name in ("a.mp4", "a.webm") else (Image, "fromarray")
    original = getattr(owner, attribute)
    if owner is Image:
        monkeypatch.setattr(Image, attribute, fail)
    else:
        writer = video_module.write
        monkeypatch.setattr(writer.av, "VideoFrame", type("Failing", (), {"from_ndarray": staticmethod(fail)}))
    with pytest.raises(VideoError if error is OSError else error):
        write_video(smooth(), tmp_path / name, fps=8)
    assert calls == 3
    assert list(tmp_path.iterdir()) == []


def test_impossible_targets(tmp_path):
    with pytest.raises(VideoError, match=r"\.mpa cannot be written.*\.mp4"):
        write_video(smooth(), tmp_path / "a.mpa", fps=8)
    with pytest.raises(VideoError, match="pass fps="):
        write_video(smooth(), tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="not numbers"):
        write_video(smooth() * float("nan"), tmp_path / "a.mp4", fps=8)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(VideoError, match=r"other files \(thesis\.tex\)"):
        write_video(smooth(), tmp_path / "full", fps=8)
    assert write_video(smooth(), f"{tmp_path}/with.dot/", fps=8) == Path(tmp_path / "with.dot")
    write_video(smooth(3), tmp_path / "with.dot", fps=8)
    assert len(read_video(tmp_path / "with.dot")) == 3


# The clip itself


def test_with_frames_keeps_times_and_source(tmp_path):
    video = read_video(write_video(Video(smooth(), VARYING, VARYING_END), tmp_path / "a.mp4"))
    new = video.with_frames(torch.zeros(6, 3, 16, 16, dtype=torch.float64))
    assert (new.times, new.duration, new.source, new.size) == (video.times, video.duration, video.source, (16, 16))
    assert new.frames.dtype == torch.float32
    with pytest.raises(VideoError, match="5 new frames for a clip of 6"):
        video.with_frames(video.frames[:5])


@pytest.mark.parametrize(
    ("frames", "times", "message"),
    [
        (torch.zeros(2, 4, 16, 16), (0, 1), "shape"),
        (torch.zeros(3, 16, 16), (0, 1), "shape"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), (0, 1), "uint8"),
        (torch.zeros(2, 3, 16, 16), (0,), "1 times for 2 frames"),
        (torch.zeros(2, 3, 16, 16), (0, 3), "rise"),
    ],
)
def test_a_clip_checks_itself(frames, times, message):
    with pytest.raises(VideoError, match=message):
        Video(frames, tuple(Fraction(time) for time in times), Fraction(2))


def test_side_by_side():
    low, high = Video.from_frames(-torch.ones(3, 3, 16, 16)), Video.from_frames(torch.ones(3, 3, 32, 24))
    both = side_by_side([low, high])
    assert both.size == (32, 40)
    assert float(both.frames[..., 16:].min()) == 1
    labelled = side_by_side([low, high], ["source", "edit"])
    assert labelled.size[0] > 32
    assert float(labelled.frames[:, :, : labelled.size[0] - 32].max()) > 0
    with pytest.raises(VideoError, match="same num_frames"):
        side_by_side([low, Video.from_frames(torch.ones(2, 3, 16, 16))])
    with pytest.raises(VideoError, match="1 labels for 2"):
        side_by_side([low, high], ["one"])
