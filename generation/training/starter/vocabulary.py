"""A small byte-level vocabulary in CLIP's legacy tokenizer format, learned from report text.

CLIP's own 49,408 entries would cost more parameters than the whole starter. Bytes are all in it, so that every report
can be written in it; frequent words of cytology are one token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77  # tokens read by SDXL's text encoders, start and end included


def build_vocabulary(texts: Iterable[str], folder: Path, *, size: int = 1680) -> Path:
    """Learn merges from `texts` and write vocab.json, merges.txt and tokenizer_config.json; returns `folder`.

    END has the highest id: open_clip and transformers both pool a text at the maximum of its ids.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False, min_frequency=3
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    entries = dict.fromkeys([*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(pair) for pair in merges)])
    vocabulary = {entry: number for number, entry in enumerate([*entries, START, END])}

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder
