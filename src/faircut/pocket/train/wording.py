"""Write the captions of the stills as tokens, in several wordings, so that training only has to read them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from faircut.errors import ModelError
from faircut.pocket.captions import caption, span_tokens
from faircut.pocket.train.config import DataConfig
from faircut.pocket.train.data import scene_from_json, write_array
from faircut.pocket.train.tokenizer import load_tokenizer

__all__ = ["CAPTION_TOKENS", "write_captions"]

CAPTION_TOKENS = 32
"""Number of stored tokens of a caption, with start and end. At most 32, because token masks are 32-bit numbers."""


def _write_shard(root: str, tokenizer_folder: str, index: int, variants: int, seed: int) -> None:
    tokenizer = load_tokenizer(Path(tokenizer_folder))
    rng = np.random.default_rng([seed, 3, index])
    lines = (Path(root) / f"scenes-{index:05d}.jsonl").read_text().splitlines()
    ids = np.zeros((len(lines), variants, CAPTION_TOKENS), np.uint16)
    words = np.zeros((len(lines), variants, 2, 2), np.uint32)
    for i, line in enumerate(lines):
        scene = scene_from_json(line)
        captions = [caption(scene, rng) for _ in range(variants)]
        batch = tokenizer([c.text for c in captions], padding="max_length", return_offsets_mapping=True)
        for k, c in enumerate(captions):
            if batch["input_ids"][k][CAPTION_TOKENS - 1] != tokenizer.eos_token_id:
                raise ModelError(f"the caption {c.text!r} has more than {CAPTION_TOKENS} tokens")
            ids[i, k] = batch["input_ids"][k][:CAPTION_TOKENS]
            for s, spans in enumerate(zip(c.subjects, c.attributes, strict=True)):
                for kind, selected_spans in enumerate(((spans[0],), spans[1])):
                    positions = {t for span in selected_spans for t in span_tokens(batch["offset_mapping"][k], span)}
                    words[i, k, s, kind] = sum(1 << t for t in positions)
    write_array(Path(root) / f"words-{index:05d}.npy", words)
    write_array(Path(root) / f"tokens-{index:05d}.npy", ids)  # last, so that its existence means that both files exist


def write_captions(folder: Path, tokenizer_folder: Path, config: DataConfig, variants: int = 8) -> None:
    """Write the missing captions of the training stills.

    Args:
        folder: Data folder.
        tokenizer_folder: Folder of the tokenizer.
        config: Number of stills, size of shards, workers and seed.
        variants: Number of wordings of each still.
    """
    root = folder / "train"
    shards = -(-config.stills // config.shard)
    missing = [i for i in range(shards) if not (root / f"tokens-{i:05d}.npy").exists()]
    jobs = [(str(root), str(tokenizer_folder), i, variants, config.seed) for i in missing]
    if config.workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            _write_shard(*job)
        return
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_write_shard, *job) for job in jobs]:
            done.result()
