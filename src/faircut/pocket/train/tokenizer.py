"""Build a CLIP tokenizer in which every word of the drawn world is one token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faircut.errors import ModelError

__all__ = ["END", "START", "build_tokenizer", "load_tokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(vocabulary: Sequence[str], folder: Path, max_length: int = 77) -> Any:
    """Learn byte-pair merges from a vocabulary, and write a standard CLIP tokenizer.

    Args:
        vocabulary: Words that must be one token each. Other words are split into letters.
        folder: Folder to write the tokenizer to.
        max_length: Number of tokens of a prompt, padding included.

    Returns:
        The tokenizer.

    Raises:
        ModelError: If a word does not become one token.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    raw = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=50_000, min_frequency=0, show_progress=False, end_of_word_suffix="</w>", special_tokens=[]
    )
    # Each word four times, so that whole words take precedence over pieces that several words share.
    raw.train_from_iterator((word.lower() for word in vocabulary for _ in range(4)), trainer)
    merges = json.loads(raw.to_str())["model"]["merges"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # All bytes, inside a word and at its end, so that no text is unknown.
    entries = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    entries += ["".join(m) for m in merges]
    entries = list(dict.fromkeys(entries))
    vocab = {entry: i for i, entry in enumerate([*entries, START, END])}
    tokenizer = CLIPTokenizer(
        vocab=vocab,
        merges=[tuple(m) for m in merges],  # type: ignore[misc]
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=max_length,
    )
    if len(tokenizer) != len(vocab):
        raise ModelError(f"the tokenizer has {len(tokenizer)} tokens instead of {len(vocab)}")
    broken = [w for w in vocabulary if len(tokenizer(w).input_ids) != 3]
    if broken:
        raise ModelError(f"these words are not one token each: {', '.join(broken[:10])}")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    # The older pair of files too, for programs that read only those from Stable Diffusion folders.
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    return tokenizer


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer that `build_tokenizer` wrote.

    Args:
        folder: Folder of the tokenizer.

    Returns:
        A CLIPTokenizer.

    Raises:
        ModelError: If the folder has no tokenizer.
    """
    from transformers import CLIPTokenizer

    if not (folder / "tokenizer_config.json").exists():
        raise ModelError(f"there is no tokenizer in {folder}; run the stage 'tokenizer' first")
    return CLIPTokenizer.from_pretrained(folder)
