"""The configuration of a text tower of transformers inside an open_clip model: found, or read from its tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from retrieval.encoder.formats.files import first_line, read_json
from retrieval.errors import EncoderLoadError

_PREFIX: Final = "text.transformer."
_LAYER: Final = re.compile(r"text\.transformer\.encoder\.layer\.(\d+)\.")
_NEEDED: Final = ("model_type", "vocab_size", "hidden_size")
_HEADS: Final = {768: 12, 1024: 16}
"""Heads of BERT's two published sizes. No tensor shows their number, so that other widths are not guessed."""


def text_tower_config(
    folder: Path, text: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], given: Path | None
) -> tuple[dict[str, Any], str]:
    """The configuration of a text tower, and where it came from, as a sentence ("" where it lay beside the weights).

    Args:
        folder: the source.
        text: the `text_cfg` of the open_clip configuration.
        shapes: of the weights' tensors, by name.
        given: a config.json or its folder, named by the user.

    Raises EncoderLoadError where it is nowhere and cannot be read from the tensors beyond doubt.
    """
    if given is not None:
        path = given / "config.json" if given.is_dir() else given
        return _given(path), f"The text tower's configuration was given ({path.name})."
    for name in ("text_tower/config.json", "text/config.json", "text_config.json", "config.json"):
        path = folder / name
        if path.is_file() and "vocab_size" in (config := read_json(path)) and "model_type" in config:
            return config, ""
    name = str(text["hf_model_name"])
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False).to_dict()
    except (OSError, ValueError, KeyError, TypeError) as error:
        derived = _derived(name, shapes)
        if derived is None:
            raise EncoderLoadError(
                f"The text tower's configuration ('{name}') is not beside the weights and could not be fetched "
                f"({first_line(error)}) Its number of attention heads stands in no tensor, so that it cannot be read "
                "from them. Give it with --text-config CONFIG.JSON, or connect to the hub once."
            ) from error
        return derived, (
            f"The text tower's configuration ('{name}') could not be fetched and was read from the tensors: BERT, "
            f"{derived['num_hidden_layers']} layers of width {derived['hidden_size']} with "
            f"{derived['num_attention_heads']} heads."
        )
    return json.loads(json.dumps(config, default=str)), f"The text tower's configuration is the hub's ('{name}')."


def _given(path: Path) -> dict[str, Any]:
    """A configuration that the user names. Raises EncoderLoadError where it is that of no text model."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderLoadError(
            f"--text-config {path} is no JSON file that can be read ({type(error).__name__}): give the config.json of "
            "the text tower."
        ) from error
    lacking = [key for key in _NEEDED if not (isinstance(config, dict) and config.get(key))]
    if lacking:
        raise EncoderLoadError(
            f"--text-config {path} is no configuration of a text model of transformers: it has no "
            f"{' and no '.join(lacking)}. Give the config.json of the text tower, such as that of a BERT."
        )
    from transformers import AutoConfig

    try:
        AutoConfig.for_model(**{**config, "model_type": str(config["model_type"])})
    except Exception as error:
        raise EncoderLoadError(
            f"--text-config {path} is of a model that the installed transformers does not know, or cannot make of it: "
            f"{first_line(error).partition('. ')[0][:200].rstrip('.')}."
        ) from error
    return dict(config)


def _derived(name: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """A BERT's configuration read from its tensors; None for another kind, or where its heads are not certain."""
    words = shapes.get(f"{_PREFIX}embeddings.word_embeddings.weight")
    wide = shapes.get(f"{_PREFIX}encoder.layer.0.intermediate.dense.weight")
    positions = shapes.get(f"{_PREFIX}embeddings.position_embeddings.weight")
    kinds = shapes.get(f"{_PREFIX}embeddings.token_type_embeddings.weight")
    if not words or not wide or not positions or not kinds or "bert" not in name.lower() or "roberta" in name.lower():
        return None
    width = int(words[1])
    if width not in _HEADS or int(wide[0]) != 4 * width or int(kinds[0]) != 2 or int(positions[0]) != 512:
        return None
    return {
        "model_type": "bert",
        "vocab_size": int(words[0]),
        "hidden_size": width,
        "num_hidden_layers": 1 + max(int(match[1]) for key in shapes if (match := _LAYER.match(key))),
        "num_attention_heads": _HEADS[width],
        "intermediate_size": int(wide[0]),
        "max_position_embeddings": int(positions[0]),
        "type_vocab_size": int(kinds[0]),
    }
