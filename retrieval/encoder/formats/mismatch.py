"""Where a model and its weights differ, in a sentence that names the first tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from retrieval.encoder.formats.files import first_line

_SHOWN: Final = 3
_MISSING: Final = re.compile(r"Missing key\(s\) in state_dict: (.*?)\. *$", re.MULTILINE)
_UNEXPECTED: Final = re.compile(r"Unexpected key\(s\) in state_dict: (.*?)\. *$", re.MULTILINE)
_SHAPE: Final = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[([\d, ]*)\]\)"
)


def differences(
    missing: Sequence[str], unexpected: Sequence[str], shapes: Sequence[tuple[str, Sequence[int], Sequence[int]]]
) -> str:
    """What differs, as sentences; empty where nothing does.

    Args:
        missing: tensors of the model that the weights lack.
        unexpected: tensors of the weights that the model lacks.
        shapes: name, shape in the weights and shape in the model, of those that differ.
    """
    sentences = []
    if shapes:
        named = ", ".join(
            f"{name} is {list(found)} in the weights and {list(wanted)} in the model"
            for name, found, wanted in shapes[:_SHOWN]
        )
        sentences.append(f"{len(shapes)} tensors have another shape: {named}{_more(shapes)}.")
    if missing:
        sentences.append(f"{len(missing)} tensors are missing from the weights: {_named(missing)}.")
    if unexpected:
        sentences.append(f"{len(unexpected)} tensors of the weights have no place: {_named(unexpected)}.")
    return " ".join(sentences)


def torch_differences(error: Exception) -> str:
    """`differences` read from what torch's strict `load_state_dict` says; its first line where it says none."""
    text = str(error)
    shapes = [(name, _sizes(found), _sizes(wanted)) for name, found, wanted in _SHAPE.findall(text)]
    problems = differences(_keys(_MISSING, text), _keys(_UNEXPECTED, text), shapes)
    return problems or first_line(error)


def _keys(pattern: re.Pattern[str], text: str) -> list[str]:
    found = pattern.search(text)
    return re.findall(r'"([^"]+)"', found[1]) if found else []


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size.strip()]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + _more(names)


def _more(items: Sequence[object]) -> str:
    return " …" if len(items) > _SHOWN else ""
