"""Sources that break off, are damaged, state no times, or call themselves what is no name of a file."""

import random
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from faircut.errors import VideoError
from faircut.video import Video, read_video, write_video

from ..test_video import VARYING, VARYING_END, numbered, numbers, smooth, write_raw, write_sine

SIX = [np.full((32, 48, 3), 10 * (index + 1), np.uint8) for index in range(6)]


def check_refused(path):
    """A source that breaks off is refused; what it says could be read can be read."""
    with pytest.raises(VideoError) as caught:
        read_video(path)
    readable = getattr(caught.value, "readable", 0)
    if readable:
        assert f"{readable}" in str(caught.value)
        assert "could be read" in str(caught.value)
        assert len(read_video(path, num_frames=readable)) == readable
        assert len(read_video(path, end=readable)) == readable


@pytest.fixture(scope="module")
def animations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animations")
    pictures = [Image.fromarray(picture) for picture in SIX]
    for suffix in ("gif", "png", "webp", "avif"):
        pictures[0].save(folder / f"a.{suffix}", save_all=True, append_images=pictures[1:], duration=100)
    write_video(numbered(6), folder / "ours.gif", fps=10)
    write_video(numbered(6), folder / "ours.webp", fps=10)
    write_video(numbered(1), folder / "ours.png", fps=10)
    return folder


@pytest.mark.parametrize("name", ["a.gif", "ours.gif"])
def test_a_gif_cut_at_any_byte(tmp_path, animations, name):
    data = (animations / name).read_bytes()
    path = tmp_path / "a.gif"
    complete = set()
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(VideoError) as caught:
            read_video(path)
        complete.add(getattr(caught.value, "readable", 0))
    assert complete == set(range(7))


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.avif", "ours.gif", "ours.webp", "ours.png"])
def test_animations_cut_and_damaged(tmp_path, animations, name):
    data = (animations / name).read_bytes()
    path = tmp_path / name
    draw = random.Random(name)
    for at in draw.sample(range(1, len(data)), min(60, len(data) - 1)):
        path.write_bytes(data[:at])
        check_refused(path)
        flipped = bytearray(data)
        flipped[at] ^= draw.choice([1, 0x10, 0x80, 0xFF])
        path.write_bytes(flipped)
        try:
            read_video(path)
        except VideoError:
            continue
        # A png has checksums, so that whatever was changed in its pictures is seen.
        assert path.suffix != ".png" or read_video(path).frames.equal(read_video(animations / name).frames)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.mkv", "a.avi", "a.ts", "a.y4m", "a.ivf"])
def test_videos_cut_and_damaged(tmp_path, name):
    source = tmp_path / f"source_{name}"
    noise = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    codec = {"a.webm": "libvpx-vp9", "a.ivf": "libvpx", "a.y4m": "wrapped_avframe"}.get(name, "libx264")
    if codec == "wrapped_avframe":
        planes = b"".join(b"FRAME\n" + picture.tobytes()[: 48 * 32 * 3 // 2] for picture in noise)
        source.write_bytes(b"YUV4MPEG2 W48 H32 F10:1 C420\n" + planes)
    else:
        write_raw(source, list(noise), codec=codec)
    assert len(read_video(source)) == 6
    data = source.read_bytes()
    path = tmp_path / name
    draw = random.Random(name)
    # A packet of MPEG-TS that is whole may be the last one: nothing in the file says how many there are.
    cuts = [at for at in draw.sample(range(1, len(data) - 600), 25) if name != "a.ts" or at % 188]
    for at in cuts:
        path.write_bytes(data[:at])
        check_refused(path)
        flipped = bytearray(data)
        flipped[at] ^= draw.choice([1, 0x10, 0x80, 0xFF])
        path.write_bytes(flipped)
        try:
            read_video(path)
        except VideoError:
            continue


def test_a_gif_with_something_behind_its_end_is_whole(tmp_path, animations):
    for more in (b"\0" * 200, b"appended by another program" * 20):
        (tmp_path / "a.gif").write_bytes((animations / "a.gif").read_bytes() + more)
        assert len(read_video(tmp_path / "a.gif")) == 6


def test_what_follows_the_chosen_frames_may_be_broken(tmp_path):
    path = write_video(smooth(8), tmp_path / "a.gif", fps=8)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(VideoError) as caught:
        read_video(path)
    readable = caught.value.readable
    assert len(read_video(path, end=readable)) == readable
    assert len(read_video(path, start=1, end=readable, stride=2)) == len(range(1, readable, 2))
    with pytest.raises(VideoError, match="truncated"):
        read_video(path, end=readable + 1)


def test_a_damaged_picture_of_a_folder_matters_only_if_it_is_asked_for(tmp_path):
    write_video(Video(smooth(), VARYING, VARYING_END), tmp_path / "frames")
    path = tmp_path / "frames" / "00004.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"00004\.png is truncated or damaged.*checksum"):
        read_video(tmp_path / "frames")
    assert len(read_video(tmp_path / "frames", num_frames=4)) == 4


# Rates and times


def bitstream(path, codec, rate):
    """A bare stream without a container."""
    with av.open(str(path), "w", format={"libx264": "h264", "mpeg2video": "mpeg2video"}[codec]) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in SIX:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("rate", [12, 24, Fraction(30000, 1001), 50])
def test_the_rate_of_a_bare_h264_stream_is_its_own(tmp_path, rate):
    video = read_video(bitstream(tmp_path / "a.h264", "libx264", rate))
    assert (len(video), video.fps, video.source.fps) == (6, rate, rate)
    assert video.times == tuple(index / Fraction(rate) for index in range(6))
    part = read_video(tmp_path / "a.h264", start=2, num_frames=2)
    assert (part.fps, part.times[1]) == (rate, 1 / Fraction(rate))
    with pytest.raises(VideoError, match="its own frame times"):
        read_video(tmp_path / "a.h264", fps=10)


def test_the_rate_of_a_bare_mpeg2_stream_is_its_own(tmp_path):
    assert read_video(bitstream(tmp_path / "a.m2v", "mpeg2video", 24)).fps == 24


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov", "a.flv", "a.nut"])
@pytest.mark.parametrize("rate", [1, 7, 25, Fraction(24000, 1001), 60])
def test_odd_rates(tmp_path, name, rate):
    if name == "a.flv" and rate == 1:
        pytest.skip("FFmpeg's flv does not state so low a rate")
    video = read_video(write_raw(tmp_path / name, SIX, rate=rate))
    assert numbers(video) == list(range(6))
    assert float(video.fps) == pytest.approx(float(rate), rel=0.01)


def test_times_that_do_not_rise_are_replaced_by_the_rate(tmp_path, monkeypatch):
    from faircut.video.decode import ContainerReader

    path = write_raw(tmp_path / "a.mkv", SIX, rate=10)
    frames = ContainerReader.frames
    monkeypatch.setattr(ContainerReader, "frames", lambda self: ((Fraction(0), picture) for _, picture in frames(self)))
    video = read_video(path)
    assert (numbers(video), video.fps) == (list(range(6)), 10)
    assert any("times do not rise" in note for note in video.source.notes)


# Streams


def with_cover(path, sound_codec):
    """A sound file with a cover picture."""
    with av.open(str(path), "w") as out:
        sound = out.add_stream(sound_codec, rate=44100)
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 48, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate, sound.codec_context.layout = 44100, "mono"
        picture = cover.encode(av.VideoFrame.from_ndarray(SIX[0], format="rgb24").reformat(format="yuvj420p"))
        picture += cover.encode()
        out.mux(picture)
        resampler = av.AudioResampler(sound.codec_context.format, "mono", 44100)
        for part in resampler.resample(frame):
            out.mux(sound.encode(part))
        out.mux(sound.encode())
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.mp4", "aac"), ("a.flac", "flac")])
def test_a_cover_picture_is_no_video(tmp_path, name, codec):
    path = with_cover(tmp_path / name, codec)
    with pytest.raises(VideoError, match=r"no video stream.*audio and cover pictures"):
        read_video(path)


def test_of_two_video_streams_the_best_is_read_and_said(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams = []
        for size in ((32, 48), (64, 96)):
            stream = out.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            stream.disposition = av.stream.Disposition.default if size[0] == 64 else av.stream.Disposition(0)
            streams.append((stream, size))
        for index in range(6):
            for stream, size in streams:
                picture = np.full((*size, 3), 10 * (index + 1), np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")))
        for stream, _ in streams:
            out.mux(stream.encode())
    video = read_video(tmp_path / "a.mkv")
    assert (len(video), video.size) == (6, (64, 96))
    assert any("2 video streams; number 1 was read" in note for note in video.source.notes)


def test_an_unknown_codec_is_said(tmp_path):
    path = write_raw(tmp_path / "a.mp4", SIX)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"encv"))
    with pytest.raises(VideoError, match=r"codec is not supported|encrypted"):
        read_video(path)


def test_an_encrypted_packet_is_said(tmp_path, monkeypatch):
    path = write_raw(tmp_path / "a.mp4", SIX)
    monkeypatch.setattr("faircut.video.decode._is_encrypted", lambda packet: True)
    with pytest.raises(VideoError, match="is encrypted"):
        read_video(path)


# Names


NAMES = [
    "concat:a.mp4",
    "http:a.mp4",
    "file:a.mp4",
    "subfile,,start,0,end,9,,:a.mp4",
    "data:a,b.mp4",
    "pipe:0.mp4",
    "-i.mp4",
    "a%05d.mp4",
    "a b 'c' \"d\".mp4",
    "$(a).mp4",
    "ü 日本.mp4",
    "a\\b.mp4",
    "~.mp4",
    "a*.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_file_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(numbered(3), "a.mp4", fps=8)
    with pytest.raises(VideoError, match="no such file"):
        read_video(name)
    write_video(numbered(2), name, fps=8)
    assert len(read_video(name)) == 2
    assert len(read_video("a.mp4")) == 3
    sound = write_sine(tmp_path / "sound.mp4", "aac", seconds=0.5)
    sound.rename(name)
    assert read_video(write_video(numbered(3), "b.mp4", fps=8, audio_from=name)).source.audio


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|a.mp4", "file:a.mp4", "file:///etc/passwd"])
def test_an_address_is_no_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(numbered(3), "a.mp4", fps=8)
    with pytest.raises(VideoError, match="no such file"):
        read_video(name)


PLAYLISTS = {
    "a.ffconcat": "ffconcat version 1.0\nfile private.mp4\n",
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate.mp4\n#EXT-X-ENDLIST\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
    "<Representation><BaseURL>private.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "a.srt": "1\n00:00:00,000 --> 00:00:01,000\nwords\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("suffix", [None, ".mp4", ".png"])
def test_a_list_of_other_files_is_not_followed(tmp_path, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    write_video(smooth(), "private.mp4", fps=8)
    path = tmp_path / name if suffix is None else tmp_path / f"a{suffix}"
    path.write_text(PLAYLISTS[name])
    with pytest.raises(VideoError, match="not a video"):
        read_video(path)


def test_names_that_are_not_text_or_too_long(tmp_path):
    path = write_video(numbered(2), tmp_path / "a.mp4", fps=8)
    path = path.rename(tmp_path / b"\xff\xfe.mp4".decode(errors="surrogateescape"))
    assert len(read_video(path)) == 2
    for name in ("a" * 300 + ".mp4", "a/" * 3000 + "b.mp4", "nul\0.mp4"):
        with pytest.raises(VideoError, match=r"cannot be opened|no such file"):
            read_video(tmp_path / name)


def test_links(tmp_path):
    write_video(numbered(2), tmp_path / "a.mp4", fps=8)
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    assert len(read_video(tmp_path / "b.mp4")) == 2
    (tmp_path / "c.mp4").symlink_to("missing.mp4")
    (tmp_path / "d.mp4").symlink_to("d.mp4")
    for name in ("c.mp4", "d.mp4"):
        with pytest.raises(VideoError, match=r"no such file|cannot be opened"):
            read_video(tmp_path / name)


# Writing


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.webp", "a.png", "frames"])
def test_a_full_disk_is_one_line(tmp_path, name):
    """In a process of its own, where no file may grow beyond 2 kB."""
    code = (
        "import resource, signal, sys, torch\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from faircut.video import write_video\nfrom faircut.errors import VideoError\n"
        "frames = torch.rand(1 if sys.argv[1].endswith('png') else 6, 3, 64, 96) * 2 - 1\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n    write_video(frames, sys.argv[1], fps=8)\n"
        "except VideoError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True)
    assert "could not be written" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_format_cannot_hold_is_one_line(tmp_path):
    wide = smooth(1, 8, 16_400)
    for name in ("a.webp", "a.mp4"):
        with pytest.raises(VideoError, match="could not be written"):
            write_video(wide, tmp_path / name, fps=8)
    for name, most in (("a.gif", 655), ("a.webp", 16777)):
        with pytest.raises(VideoError, match=f"more than {most} s"):
            write_video(smooth(2), tmp_path / name, fps=Fraction(1, 20_000))
    assert list(tmp_path.iterdir()) == []


def test_sound_that_cannot_be_carried_over_does_not_cost_the_pictures(tmp_path, monkeypatch):
    from faircut.video import audio

    video = read_video(write_sine(tmp_path / "a.mp4", "aac"))

    def fail(self):
        raise av.error.InvalidDataError(1, "Invalid data found when processing input")
        yield

    monkeypatch.setattr(audio.Sound, "_copied", fail)
    with pytest.warns(UserWarning, match="without sound"):
        out = write_video(video, tmp_path / "b.mp4")
    assert not read_video(out).source.audio
    with pytest.raises(VideoError, match="cannot be carried over"):
        write_video(video, tmp_path / "c.mp4", audio_from=tmp_path / "a.mp4")
    assert not (tmp_path / "c.mp4").exists()
