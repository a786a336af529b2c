"""A LoRA as it is on disk: which tensors change which layer of a base, by how much, and whether all of them fit."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import LoraMismatchError, WeightsError
from generation.model.lora.change import Sizes, changed_size, misfit, rank
from generation.model.lora.keys import bundled_embedding, parse_key
from generation.model.lora.names import LayerNames

if TYPE_CHECKING:
    from generation.model.lora.find import Lora, LoraFile

_METADATA = "lora_adapter_metadata"  # where diffusers keeps peft's settings within the file
_SHOWN = 3
_LONGEST_KEY = 160
_LONGEST_PATTERN = 500
_MOST_REPEATED = 3
_COSTLY = re.compile(r"\([^()]*[*+|{?][^()]*\)+[*+{]")
"""A repetition of what repeats or varies itself."""


@dataclass(frozen=True)
class LayerChange:
    """The tensors that change one layer: their keys in `path` by role, and their shapes by role."""

    part: str
    layer: str
    path: Path
    keys: Mapping[str, str]
    sizes: Sizes
    strength: float | None
    """By peft's settings; None: `alpha` / rank, where there is an alpha, else 1."""

    @property
    def rank(self) -> int | None:
        """The rank that `alpha` is divided by."""
        return rank(self.sizes)


@dataclass(frozen=True)
class LoraContent:
    """A LoRA that fits a base: its changes, and the names of embeddings that are bundled with it and not used."""

    changes: tuple[LayerChange, ...]
    embeddings: tuple[str, ...]

    @property
    def note(self) -> str:
        """A sentence about what is not used; "" where everything is."""
        if not self.embeddings:
            return ""
        names = ", ".join(self.embeddings)
        return f"Embeddings that are bundled with the LoRA are left out ({names}): its words for them do nothing."


@dataclass
class _Found:
    """What reading has come to so far."""

    keys: dict[tuple[Path, str, str], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    sizes: dict[tuple[Path, str, str], dict[str, tuple[int, ...]]] = field(default_factory=lambda: defaultdict(dict))
    settings: dict[Path, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    unknown: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    nowhere: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    embeddings: dict[str, None] = field(default_factory=dict)
    tensors: int = 0


def read_lora(lora: Lora, names: LayerNames, base: str) -> LoraContent:
    """The changes of `lora` to the base called `base`. Reads headers only.

    Raises `LoraMismatchError` unless every tensor has its place: one that fits nowhere would be missing silently.
    """
    found = _Found()
    for file in lora.files:
        _read_file(file, names, found)
    where = f"the LoRA {lora.path}"
    if not found.keys and not found.nowhere:
        raise LoraMismatchError(
            f"{lora.path} holds no LoRA: none of its {found.tensors} tensors is of a kind that is known"
            f"{_first(found.unknown)}."
        )
    if found.unknown:
        raise LoraMismatchError(
            f"{len(found.unknown)} of {found.tensors} tensors of {where} are of a kind that is not known"
            f"{_first(found.unknown)}. They are not left out silently: ask for a LoRA, LoCon, LoHa, LoKr or DoRA file."
        )
    if found.nowhere:
        raise LoraMismatchError(_nowhere_message(found, where, base))
    changes = tuple(
        LayerChange(part, layer, path, keys, found.sizes[path, part, layer], _strength(found, path, part, layer))
        for (path, part, layer), keys in found.keys.items()
    )
    _check(changes, names, where, base, found.tensors)
    return LoraContent(changes, tuple(found.embeddings))


def _read_file(file: LoraFile, names: LayerNames, found: _Found) -> None:
    from safetensors import safe_open

    with safe_open(file.path, framework="numpy") as opened:
        tensors = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
        shapes = {key: tuple(tensor.get_shape()) for key, tensor in tensors.items()}
        whole = [key for key, tensor in tensors.items() if "F" not in tensor.get_dtype()]
        metadata = opened.metadata() or {}
    found.settings[file.path] = _settings(file, metadata)
    found.tensors += len(shapes)
    for key, shape in shapes.items():
        if (embedding := bundled_embedding(key)) is not None:
            found.embeddings[embedding] = None
            continue
        parsed = parse_key(key)
        if parsed is None:
            found.unknown.append((key, shape))
            continue
        name, role = parsed
        if key in whole and role != "alpha":
            raise LoraMismatchError(
                f"{file.path} holds whole numbers ({key}), as a quantised LoRA does, which is not read. Ask for one in "
                "float32, float16 or bfloat16."
            )
        place = names.find(name, file.part)
        if place is None:
            found.nowhere.append((key, shape))
            continue
        roles = found.keys[file.path, *place]
        if role in roles:
            raise LoraMismatchError(f"{file.path} names the same layer twice: {roles[role]} and {key}.")
        roles[role] = key
        found.sizes[file.path, *place][role] = shape


def _settings(file: LoraFile, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """peft's settings by part: of adapter_config.json beside the file ("" is any part), or within the file."""
    try:
        if file.config is not None:
            return {"": dict(json.loads(file.config.read_text(encoding="utf-8")).items())}
        packed = json.loads(metadata.get(_METADATA, "{}"))
        parts: dict[str, dict[str, Any]] = defaultdict(dict)
        for name, value in packed.items():
            part, _, setting = name.partition(".")
            parts[part][setting] = value
        return parts
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"The settings of the LoRA {file.path} cannot be read ({error}). Copy them anew.") from error


def _strength(found: _Found, path: Path, part: str, layer: str) -> float | None:
    try:
        strength = _stated_strength(found, path, part, layer)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError, re.error) as error:
        raise WeightsError(
            f"The settings of the LoRA {path} are not as peft writes them ({error}). Copy them anew."
        ) from error
    if strength is not None and not math.isfinite(strength):
        raise WeightsError(f"The settings of the LoRA {path} give an alpha that is no number. Copy them anew.")
    return strength


def _stated_strength(found: _Found, path: Path, part: str, layer: str) -> float | None:
    settings = found.settings[path].get(part) or found.settings[path].get("")
    if not settings or settings.get("lora_alpha", settings.get("alpha")) is None:
        return None
    by_layer = settings.get("alpha_pattern") or {}
    alpha = _by_pattern(by_layer, layer, settings.get("lora_alpha", settings.get("alpha")))
    size = rank(found.sizes[path, part, layer])
    if size is None:  # LoKr of two whole factors; peft divides by the rank that was requested
        size = int(_by_pattern(settings.get("rank_pattern") or {}, layer, settings.get("r", 1)))
    return float(alpha) / (math.sqrt(size) if settings.get("use_rslora") is True else size)


def _by_pattern(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value for a layer as peft chooses it: the first pattern that matches the end of the layer's name."""
    for pattern, value in patterns.items():
        compiled = _compiled(pattern)
        if any(compiled.match(name) for name in (layer, f"text_model.{layer}")):
            return value
    return default


@lru_cache(maxsize=8192)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of peft's settings. Raises ValueError for one that could take for ever."""
    if len(pattern) > _LONGEST_PATTERN or _COSTLY.search(pattern) or sum(map(pattern.count, "*+{")) > _MOST_REPEATED:
        raise ValueError(f"the pattern {pattern[:60]!r} is more than a layer's name")
    return re.compile(rf"(.*\.)?({pattern})$")


def _check(changes: Sequence[LayerChange], names: LayerNames, where: str, base: str, tensors: int) -> None:
    broken: list[str] = []
    other: list[str] = []
    misfits = 0
    for change in changes:
        weight = names.shapes[change.part][change.layer]
        size = changed_size(change.sizes)
        if size is None and not (change.sizes.keys() <= {"diff_bias"}):
            broken.append(f"{change.part}.{change.layer}: {', '.join(sorted(change.keys))}")
        elif role := misfit(change.sizes, weight):
            broken.append(f"{change.keys[role]} is {_by(change.sizes[role])}, for a weight of {_by(weight)}")
        elif size is not None and size != (weight[0], math.prod(weight[1:])):
            misfits += len(change.keys)
            if len(other) < _SHOWN:
                key = next(iter(change.keys.values()))
                shape = _by(change.sizes[next(iter(change.keys))])
                other.append(f"{key} is {shape}, for a weight of {_by(size)}; the base's is {_by(weight)}")
    if broken:
        raise LoraMismatchError(
            f"The tensors of {len(broken)} layers of {where} do not go together: one is missing, or of another shape "
            f"({'; '.join(broken[:_SHOWN])}). Copy or download it anew."
        )
    if other:
        raise LoraMismatchError(
            f"{_capital(where)} does not fit: {misfits} of its {tensors} tensors have other shapes than the base's "
            f"({'; '.join(other)}). It was trained on another base than {base}: give the base it belongs to, or "
            "another LoRA."
        )


def _nowhere_message(found: _Found, where: str, base: str) -> str:
    count = len(found.nowhere)
    if not found.keys:
        return (
            f"{_capital(where)} does not fit: its names are those of no layer of {base}{_first(found.nowhere)}. It is "
            "in a layout that is not known, or for another kind of model than SDXL."
        )
    return (
        f"Only {found.tensors - count} of {found.tensors} tensors of {where} have a place: the others name layers that "
        f"the base {base} does not have{_first(found.nowhere)}. Give the base it belongs to, or another LoRA."
    )


def _first(tensors: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    shown = ", ".join(f"{_short(key)} ({_by(shape)})" for key, shape in tensors[:_SHOWN])
    return f" (the first: {shown})" if shown else ""


def _short(key: str) -> str:
    return key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…"


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
