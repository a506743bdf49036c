"""Pictures of every kind of value come out as bright as they are meant, or are refused by name."""

import struct
import zlib

import pytest
from PIL import Image, ImageCms

from faircut.errors import VideoError
from faircut.video import read_video, write_video

from ..test_video import smooth


def mean(path):
    return [round(float(value), 1) for value in (read_video(path).frames[0].mean((1, 2)) + 1) * 127.5]


def png(depth, colour, pixel):
    """A png of 48 x 32 equal pixels, put together by hand: Pillow writes no 16-bit colours."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 48, 32, depth, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + pixel * 48) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(bits, pixels, *, white_is_zero=False, sample=1):
    """An uncompressed grey tiff of 48 x 32; ``sample`` is 1 for unsigned, 2 for signed, 3 for floating."""
    entries = {256: 48, 257: 32, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 8, 277: 1, 278: 32, 339: sample}
    entries[279] = len(pixels)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(entries)) + table + bytes(4)


def palette():
    image = Image.new("P", (48, 32), 3)
    image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 200, 100, 50])
    return image


KNOWN = {
    "grey of 16 bits.png": (png(16, 0, struct.pack(">H", 30000)), [117] * 3),
    "rgb of 16 bits.png": (png(16, 2, struct.pack(">3H", 30000, 20000, 10000)), [117, 78, 39]),
    "rgba of 16 bits.png": (png(16, 6, struct.pack(">4H", 30000, 20000, 10000, 32896)), [58.7, 39.2, 19.6]),
    "grey and alpha of 16 bits.png": (png(16, 4, struct.pack(">2H", 30000, 32896)), [58.7] * 3),
    "16 bits.tif": (tiff(16, struct.pack("<H", 30000) * 1536), [117] * 3),
    "16 bits, white is 0.tif": (tiff(16, struct.pack("<H", 30000) * 1536, white_is_zero=True), [138] * 3),
    "8 bits, white is 0.tif": (tiff(8, bytes([40]) * 1536, white_is_zero=True), [215] * 3),
    "12 bits.tif": (tiff(12, b"\x80\x08\x00" * 768), [127.5] * 3),
    "floats from 0 to 1.tif": (tiff(32, struct.pack("<f", 0.25) * 1536, sample=3), [64] * 3),
    "floats, white is 0.tif": (tiff(32, struct.pack("<f", 0.25) * 1536, sample=3, white_is_zero=True), [191] * 3),
    "grey and alpha.png": (Image.new("LA", (48, 32), (200, 128)), [100.4] * 3),
    "two values.png": (Image.new("1", (48, 32), 1), [255] * 3),
    "two values.tif": (Image.new("1", (48, 32), 1), [255] * 3),
    "cmyk.jpg": (Image.new("CMYK", (48, 32), (0, 255, 255, 0)), [255, 0, 0]),
    "cmyk.tif": (Image.new("CMYK", (48, 32), (0, 255, 255, 0)), [255, 0, 0]),
    "palette.bmp": (palette(), [200, 100, 50]),
    "palette.gif": (palette(), [200, 100, 50]),
    "lab.tif": (Image.new("LAB", (48, 32), (128, 128, 128)), [119] * 3),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("place", ["alone", "in a folder"])
def test_values_are_as_bright_as_they_are_meant(tmp_path, name, place):
    source, expected = KNOWN[name]
    path = tmp_path / name
    path.write_bytes(source) if isinstance(source, bytes) else source.save(path)
    if place == "in a folder" and path.suffix == ".gif":
        pytest.skip("a folder's pictures are no gifs")
    assert mean(path if place == "alone" else tmp_path) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("transparency", [bytes([255, 255, 255, 128]), bytes([255, 255, 255, 0])])
def test_a_palette_with_alpha(tmp_path, transparency):
    palette().save(tmp_path / "a.png", transparency=transparency)
    share = transparency[3] / 255
    assert mean(tmp_path / "a.png") == pytest.approx([200 * share, 100 * share, 50 * share], abs=1)
    assert "alpha was laid over black" in read_video(tmp_path / "a.png").source.notes


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (tiff(32, struct.pack("<f", 200.0) * 1536, sample=3), r"from 200 to 200.*what white is"),
        (tiff(32, struct.pack("<f", -0.5) * 1536, sample=3), r"from -0\.5 to -0\.5.*what white is"),
        (tiff(32, struct.pack("<f", float("nan")) * 1536, sample=3), "what white is"),
        (tiff(32, struct.pack("<f", float("inf")) * 1536, sample=3), "what white is"),
        (tiff(32, struct.pack("<I", 2**31) * 1536), "what white is"),
        (tiff(16, struct.pack("<h", -5) * 1536, sample=2), "what white is"),
        (tiff(64, struct.pack("<d", 0.5) * 1536, sample=3), "not a picture that can be read"),
    ],
)
@pytest.mark.parametrize("place", ["alone", "in a folder"])
def test_values_that_do_not_say_what_white_is_are_refused(tmp_path, source, message, place):
    (tmp_path / "a.tif").write_bytes(source)
    with pytest.raises(VideoError, match=message):
        read_video(tmp_path / "a.tif" if place == "alone" else tmp_path)


def swapped_profile():
    """sRGB with the colorants of red and blue exchanged: what is red in it is blue on the screen."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    at = profile.index(b"s\0R\0G\0B") if b"s\0R\0G\0B" in profile else profile.index(b"sRGB")
    profile[at : at + 1] = b"x"
    return bytes(profile)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_colours_follow_the_profile_of_the_picture(tmp_path, suffix):
    image, path = Image.new("RGB", (48, 32), (250, 40, 20)), tmp_path / f"a{suffix}"
    image.save(path, icc_profile=swapped_profile())
    assert mean(path) == pytest.approx([20, 40, 250], abs=6)
    assert any("by the picture's own profile" in note for note in read_video(path).source.notes)
    image.save(path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert mean(path) == pytest.approx([250, 40, 20], abs=6)
    image.save(path, icc_profile=b"not a profile" * 20)
    assert mean(path) == pytest.approx([250, 40, 20], abs=6)
    assert any("profile cannot be used" in note for note in read_video(path).source.notes)


# How many pictures there are


@pytest.mark.parametrize("suffix", [".avif", ".webp", ".png", ".gif"])
def test_every_frame_of_an_animation_is_read(tmp_path, suffix):
    pictures = [Image.new("RGB", (64, 48), (40 * i, 255 - 40 * i, 30)) for i in range(6)]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:], duration=120, **lossless)
    video = read_video(tmp_path / f"a{suffix}")
    assert (len(video), video.size, video.source.total_frames) == (6, (48, 64), 6)
    assert [float(duration) for duration in video.durations] == [0.12] * 6
    for index, frame in enumerate(video.frames):
        expected = [40 * index, 255 - 40 * index, 30]
        assert ((frame.mean((1, 2)) + 1) * 127.5).tolist() == pytest.approx(expected, abs=6)
    assert len(read_video(tmp_path / f"a{suffix}", num_frames=2, start=3)) == 2


def test_the_still_beside_an_animated_png_is_no_frame_of_it(tmp_path):
    pictures = [Image.new("RGB", (48, 32), (50 * i, 0, 0)) for i in range(4)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], default_image=True, duration=100)
    video = read_video(tmp_path / "a.png")
    assert [round(float(frame[0].mean() + 1) * 127.5) for frame in video.frames] == [50, 100, 150]


def test_a_phones_jpeg_is_one_picture(tmp_path):
    pictures = [Image.new("RGB", (48, 32), (level,) * 3) for level in (200, 90)]
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    assert mean(tmp_path / "a.jpg") == pytest.approx([200] * 3, abs=2)
    assert len(read_video(tmp_path / "a.jpg")) == 1
    assert len(read_video(tmp_path)) == 1


def test_pages_of_a_tiff_take_a_rate(tmp_path):
    pictures = [Image.new("RGB", (48, 32), (50 * i,) * 3) for i in range(4)]
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=pictures[1:])
    assert len(read_video(tmp_path / "a.tif")) == 4
    assert read_video(tmp_path / "a.tif", fps=24).fps == 24
    pictures[0].save(tmp_path / "b.tif", save_all=True, append_images=[*pictures[1:], Image.new("RGB", (50, 32))])
    with pytest.raises(VideoError, match="changes its size at frame 4"):
        read_video(tmp_path / "b.tif")
    assert len(read_video(tmp_path / "b.tif", end=4)) == 4


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif", ".avif"])
def test_an_animation_among_the_pictures_of_a_folder_is_refused(tmp_path, suffix):
    pictures = [Image.new("RGB", (48, 32), (50 * i,) * 3) for i in range(3)]
    pictures[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:])
    with pytest.raises(VideoError, match=f"a{suffix} holds more than one picture"):
        read_video(tmp_path)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heif_is_refused_by_name(tmp_path, brand):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(4) + brand + b"miaf" + bytes(200))
    with pytest.raises(VideoError, match=r"HEIF.*jpeg"):
        read_video(tmp_path / "a.mp4")


def test_only_the_frames_that_are_asked_for_are_decoded(tmp_path, monkeypatch):
    path = write_video(smooth(20), tmp_path / "a.gif", fps=8)
    loaded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: loaded.append(1) or load(self))
    read_video(path, num_frames=2)
    few = len(loaded)
    read_video(path)
    assert few < (len(loaded) - few) / 3
