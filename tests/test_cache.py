"""The cache: entries that never change, copies of one's own, limits, notes, and what goes wrong with it."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import stat
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from faircut.attention.source import DiskStore, MemoryStore
from faircut.config.values import SpatialTemporal
from faircut.edit.inversion import Inversion, find_inversion, keep_inversion
from faircut.errors import AttentionError, ConfigError
from faircut.files import tensors
from faircut.files.cache import Cache, cache_folder, cache_limit, parse_bytes, private_folder, user_cache
from faircut.files.tensors import file_digest, save_tensors

KEYS = [f"{number:032x}" for number in range(9)]


def value(number: int = 0, attention: bool = True) -> Inversion:
    store = MemoryStore()
    for step in range(2):
        store.put(step, "layer", torch.full((2, 2, 4, 4), float(step)), torch.full((2, 2, 4, 4), float(number)))
    latents = torch.full((3, 2, 4, 4, 4), float(number))
    return Inversion(
        latents, f"prompt {number}", 2, SpatialTemporal(), (8, 8), "model", attention=store if attention else None
    )


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_kept_is_found_and_never_replaced(tmp_path):
    cache = Cache(tmp_path)
    assert find_inversion(cache, KEYS[0]) is None
    keep_inversion(cache, KEYS[0], value(0))
    made = (tmp_path / KEYS[0]).stat().st_ino
    keep_inversion(Cache(tmp_path), KEYS[0], value(1))
    assert (tmp_path / KEYS[0]).stat().st_ino == made
    assert find_inversion(cache, KEYS[0]).latents.eq(0).all()
    assert names(tmp_path) == [KEYS[0]]


def test_the_slower_of_two_processes_drops_its_own(tmp_path):
    def slow(folder):
        keep_inversion(Cache(tmp_path), KEYS[0], value(1))
        return value(0).save(folder, key=KEYS[0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Cache(tmp_path).keep(KEYS[0], slow)
    assert find_inversion(Cache(tmp_path), KEYS[0]).latents.eq(1).all()
    assert names(tmp_path) == [KEYS[0]]


def test_recorded_attention_outlives_its_entry_and_goes_with_its_user(tmp_path):
    keep_inversion(Cache(tmp_path), KEYS[0], value(5))
    found = find_inversion(Cache(tmp_path), KEYS[0])
    Cache(tmp_path, limit=0).prune()
    assert not (tmp_path / KEYS[0]).exists()
    assert found.attention.get(1, "layer")[1].eq(5).all()
    del found
    gc.collect()
    assert names(tmp_path) == []


def test_a_copy_is_made_where_links_cannot_be(tmp_path, monkeypatch):
    def link(*names):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    keep_inversion(Cache(tmp_path), KEYS[0], value(5))
    assert find_inversion(Cache(tmp_path), KEYS[0]).attention.get(1, "layer")[1].eq(5).all()


def test_an_entry_that_is_removed_while_it_is_copied_is_none(tmp_path, monkeypatch):
    keep_inversion(Cache(tmp_path), KEYS[0], value(5))
    link = os.link

    def linked(source, target):
        Cache(tmp_path, limit=0).prune()
        link(source, target)

    monkeypatch.setattr(os, "link", linked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_inversion(Cache(tmp_path), KEYS[0]) is None
    assert names(tmp_path) == []


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path):
    for index, key in enumerate(KEYS[:3]):
        (tmp_path / key).mkdir()
        (tmp_path / key / "inversion.json").write_text("x" * 100)
        os.utime(tmp_path / key, (index, index))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "inversion.json").write_text("x" * 1000)
    os.utime(tmp_path / KEYS[1])
    Cache(tmp_path, limit=250).prune()
    assert names(tmp_path) == [KEYS[1], KEYS[2], "mine"]


def test_an_entry_beyond_the_limit_costs_no_other(tmp_path):
    keep_inversion(Cache(tmp_path), KEYS[0], value(0, attention=False))
    size = sum(path.stat().st_size for path in (tmp_path / KEYS[0]).iterdir())
    keep_inversion(Cache(tmp_path, limit=size + 100), KEYS[1], value(1))
    assert names(tmp_path) == [KEYS[0]]


def test_quality_that_is_measured_later_is_noted_and_goes_with_its_entry(tmp_path):
    cache = Cache(tmp_path)
    keep_inversion(cache, KEYS[0], value())
    keep_inversion(cache, KEYS[0], value().with_reconstruction(31.5))
    assert find_inversion(cache, KEYS[0]).reconstruction_psnr == 31.5
    (note,) = tmp_path.glob("*.note.json")
    note.write_text(note.read_text().replace("31.5", "41.5"))
    assert find_inversion(cache, KEYS[0]).reconstruction_psnr is None
    Cache(tmp_path, limit=0).prune()
    assert names(tmp_path) == []


def test_entries_are_private(tmp_path):
    before = os.umask(0)
    try:
        keep_inversion(Cache(tmp_path / "cache"), KEYS[0], value())
        value().save(tmp_path / "saved")
    finally:
        os.umask(before)
    for path in (tmp_path / "cache" / KEYS[0], *(tmp_path / "cache" / KEYS[0]).rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "saved" / "inversion.safetensors").stat().st_mode) == 0o666, "as the umask says"


def test_a_private_folder_is_closed_and_so_are_the_parents_that_are_made(tmp_path):
    folder = private_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (folder, folder.parent)] == [0o700, 0o700]
    folder.chmod(0o777)
    assert stat.S_IMODE(private_folder(folder).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "error",
    [
        lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        lambda: SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["OSError", "SafetensorError"],
)
def test_a_full_disk_is_one_warning_and_nothing_is_left(tmp_path, monkeypatch, error):
    def full(*arguments):
        raise error()

    monkeypatch.setattr(tensors, "save_file", full)
    cache = Cache(tmp_path)
    with pytest.warns(UserWarning, match="No space left on device.*without it"):
        keep_inversion(cache, KEYS[0], value())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep_inversion(cache, KEYS[1], value())
    assert names(tmp_path) == []
    with pytest.raises(OSError, match="No space left") as failed:
        save_tensors({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert failed.value.errno == errno.ENOSPC
    assert str(failed.value.filename) == str(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 * 2**30), ("500 MB", 500_000_000), ("1e9", 10**9), ("1.5k", 1500), ("0", 0), ("7 b", 7)],
)
def test_amounts_of_memory(text, size):
    assert parse_bytes(text) == size


@given(st.text())
def test_any_other_text_is_refused(text):
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_bytes(text) < 2**63


def test_the_environment_names_place_and_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path))
    monkeypatch.setenv("FAIRCUT_CACHE_LIMIT", "1kB")
    assert (cache_folder(), cache_limit()) == (tmp_path / "inversions", 1000)
    monkeypatch.setenv("FAIRCUT_CACHE_LIMIT", "lots")
    with pytest.raises(ConfigError, match="FAIRCUT_CACHE_LIMIT"):
        Cache(tmp_path)
    monkeypatch.setenv("FAIRCUT_CACHE_LIMIT", "")
    monkeypatch.setenv("FAIRCUT_CACHE", "")
    monkeypatch.setenv("HOME", "")
    assert cache_folder() is None
    with pytest.warns(UserWarning, match="no home folder"):
        assert user_cache() is None


def _disk(tmp_path) -> DiskStore:
    store = DiskStore(tmp_path)
    for step in range(2):
        store.put(step, "layer", torch.ones(2, 2, 4, 4), torch.ones(2, 2, 4, 4))
        store.close_step(step)
    return store


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: save_tensors({"layer.query": torch.ones(1), "layer.key": torch.ones(1)}, path),
    ],
    ids=["missing", "empty", "truncated", "another"],
)
def test_damaged_attention_is_an_error_of_ours(damage, tmp_path):
    store = _disk(tmp_path)
    damage(tmp_path / "step_0001.safetensors")
    assert store.get(0, "layer")[0].eq(1).all()
    with pytest.raises(AttentionError, match="invert the clip again"):
        store.get(1, "layer")
    with pytest.raises(AttentionError, match="invert the clip again"):
        store.entries()


def test_a_layer_that_was_not_kept_is_an_error_of_ours(tmp_path):
    with pytest.raises(AttentionError, match="invert the clip again"):
        _disk(tmp_path).get(0, "other")


@pytest.mark.parametrize("name", ["inversion.safetensors", "inversion.json", "attention/step_0001.safetensors"])
def test_every_flipped_bit_is_seen(name, tmp_path):
    folder = value(3).save(tmp_path / "a")
    data = (folder / name).read_bytes()
    for at in range(0, len(data), max(1, len(data) // 40)):
        (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ConfigError, match="no readable inversion"):
            Inversion.load(folder)
    (folder / name).write_bytes(data)
    assert torch.equal(Inversion.load(folder).latents, value(3).latents)


def test_the_manifest_lists_every_other_file(tmp_path):
    folder = value().save(tmp_path / "a")
    facts = json.loads((folder / "inversion.json").read_text())
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"inversion.json"}
    assert set(facts["files"]) == there
    assert all(file_digest(folder / name) == digest for name, digest in facts["files"].items())
