"""`coin lora import`: a LoRA in any published layout becomes one safetensors file in diffusers' layout.

Tensors keep their values and number format; only names change. Strengths other than 1 go where diffusers keeps them,
peft's settings in the file's metadata. What diffusers cannot say (LoHa, LoKr, Tucker's decomposition) keeps the names
of its factors after diffusers' names of the layers: this project reads that, diffusers does not.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import WeightsNotFoundError
from generation.importing.imported import Imported, Importing, finish, importing
from generation.importing.layout import sdxl_shapes
from generation.model.files.stored_weights import NewTensor, StoredWeights, write_weights
from generation.model.files.weight_files import check_safetensors, is_pickled
from generation.model.lora.find import Lora, LoraFile, choose_lora, fetch_lora, peft_config
from generation.model.lora.fuse import require_numbers
from generation.model.lora.lora_file import LayerChange, LoraContent, read_lora
from generation.model.lora.names import PARTS, LayerNames
from generation.model.pickled import HOW_IT_WAS_READ, as_safetensors
from generation.model.requirements import stored_shapes
from generation.model.weights import find_base

if TYPE_CHECKING:
    import torch

LORA_FILE = "pytorch_lora_weights.safetensors"
_TRAINING_STATE = ("optimizer", "scheduler", "random_states", "rng_state", "scaler", "training_args", "sampler")
_SUFFIXES = {
    "down": "lora_A.weight",
    "up": "lora_B.weight",
    "up_bias": "lora_B.bias",
    "mid": "lora_mid.weight",
    "magnitude": "lora_magnitude_vector",
    "diff_bias": "diff_b",
}
_OF_DIFFUSERS = {"down", "up", "up_bias", "magnitude"}


def import_lora(source: str | Path, out: str | Path, *, base: str | Path | None = None) -> Imported:
    """Import a LoRA from a file, a folder or a hub id into the new folder `out`.

    Args:
        base: the base that it belongs to; None is SDXL 1.0, whose layers most LoRAs are for.

    Raises:
        WeightsError and what is below it: `source` cannot be found or read, does not fit the base, or `out` exists.
    """
    with importing(out) as work, contextlib.ExitStack() as opened:
        found = Path(source).expanduser()
        if not found.exists():
            found = fetch_lora(source, pickled=True)
        files = []
        for path in _files(found):
            name = path.relative_to(found).as_posix() if found.is_dir() else path.name
            work.reads(path, name)
            if is_pickled(path):
                work.changed(HOW_IT_WAS_READ)
            weights, left_out = opened.enter_context(as_safetensors(path, work.folder))
            work.left_out += left_out
            check_safetensors(weights)
            config = peft_config(weights, path.parent)
            if config is not None:
                work.reads(config, str(Path(name).with_name(config.name).as_posix()))
            files.append(LoraFile(weights, config, path.parent.name if path.parent.name in PARTS else ""))
        lora = Lora(found.name, found, tuple(files))
        names = LayerNames(sdxl_shapes() if base is None else stored_shapes(find_base(base)))
        content = read_lora(lora, names, "SDXL 1.0" if base is None else str(base))
        work.left_out += [f"bundled embedding: {name}" for name in content.embeddings]
        _write(content, names, found, work)
        opened.close()  # the safetensors of pickles, which are in the folder
        return finish(work, out, kind="LoRA", source=source, found=found, use=f"coin generate --lora {Path(out).name}")


def _files(found: Path) -> list[Path]:
    """The LoRA's files: safetensors where there are any, else pickled ones that are no state of a training."""
    if found.is_file():
        return [found]
    below = [path.relative_to(found).as_posix() for path in sorted(found.rglob("*")) if path.is_file()]
    safe = [name for name in below if name.endswith(".safetensors")]
    risky = [name for name in below if is_pickled(name) and not Path(name).name.startswith(_TRAINING_STATE)]
    chosen = choose_lora(safe, str(found)) or choose_lora(risky, str(found))
    if not chosen:
        raise WeightsNotFoundError(f"There is no LoRA in {found}: it holds neither .safetensors nor pickled weights.")
    return [found / name for name in chosen]


def _write(content: LoraContent, names: LayerNames, found: Path, work: Importing) -> None:
    stored = {change.path: StoredWeights([change.path]) for change in content.changes}
    strengths = {(change.part, change.layer): _strength(change, stored[change.path]) for change in content.changes}
    plain = all(_is_plain(change) for change in content.changes)
    tensors: dict[str, NewTensor] = {}
    for change in content.changes:
        name = f"{change.part}.{_published(change.part, change.layer)}"
        for role, key in change.keys.items():
            if role != "alpha":
                new = _tensor(stored[change.path], key, role, names.shapes[change.part][change.layer], found)
                tensors[f"{name}.{_SUFFIXES.get(role, role)}"] = new
                if key != f"{name}.{_SUFFIXES.get(role, role)}":
                    work.changed("Tensors were renamed to diffusers' names; their values are as they were.")
        strength, rank = strengths[change.part, change.layer], change.rank
        if not plain and strength != 1:
            tensors[f"{name}.{'alpha' if rank else 'scalar'}"] = _number(strength * (rank or 1))
    settings = _settings(content.changes, strengths) if plain else {}
    if settings:
        work.changed("Strengths (alpha / rank) were put into the file's metadata, as diffusers writes them.")
    if not plain:
        work.changed("The factors of LoHa, LoKr or whole differences are kept: COIN reads them, diffusers does not.")
    metadata = {"lora_adapter_metadata": json.dumps(settings, indent=2, sort_keys=True)} if settings else {}
    write_weights(work.folder / LORA_FILE, tensors, metadata)


def _is_plain(change: LayerChange) -> bool:
    """Whether diffusers can read a change."""
    rows = change.sizes.get("magnitude", (2,))
    if len(rows) > 1 and rows[0] == 1 and len(rows) == 2:
        return False  # lengths of columns
    return change.keys.keys() - {"alpha"} <= _OF_DIFFUSERS


def _strength(change: LayerChange, stored: StoredWeights) -> float:
    if change.strength is not None:
        return change.strength
    if "alpha" in change.keys and change.rank:
        return float(stored.read(change.keys["alpha"])) / change.rank
    return 1.0


def _settings(changes: Sequence[LayerChange], strengths: dict[tuple[str, str], float]) -> dict[str, Any]:
    """peft's settings of each part, under diffusers' names; none where every strength is 1."""
    settings: dict[str, Any] = {}
    if all(strength == 1 for strength in strengths.values()):
        return settings
    for part in PARTS:
        own = {_bare(part, change.layer): change for change in changes if change.part == part}
        if not own:
            continue
        ranks = {layer: change.rank or 1 for layer, change in own.items()}
        alphas = {layer: strengths[part, change.layer] * ranks[layer] for layer, change in own.items()}
        rank = Counter(ranks.values()).most_common(1)[0][0]
        alpha = Counter(alphas.values()).most_common(1)[0][0]
        chosen = {
            "r": rank,
            "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
            "target_modules": sorted(own),
            "rank_pattern": {layer: value for layer, value in sorted(ranks.items()) if value != rank},
            "alpha_pattern": {layer: value for layer, value in sorted(alphas.items()) if value != alpha},
            "use_dora": any("magnitude" in change.keys for change in own.values()),
            "lora_bias": any("up_bias" in change.keys for change in own.values()),
        }
        settings |= {f"{part}.{name}": value for name, value in chosen.items()}
    return settings


def _bare(part: str, layer: str) -> str:
    return layer if part == "unet" else layer.removeprefix("text_model.")


def _published(part: str, layer: str) -> str:
    """The layer's name in diffusers' files; those of the text encoders are one level deeper than in transformers 5."""
    bare = _bare(part, layer)
    return bare if part == "unet" or bare == "text_projection" else f"text_model.{bare}"


def _tensor(stored: StoredWeights, key: str, role: str, weight: tuple[int, ...], found: Path) -> NewTensor:
    """The tensor as it is; but a linear layer's factors, which kohya may write as convolutions, lose two dimensions."""
    shape = stored.shapes[key]
    if len(weight) == 2 and len(shape) == 4 and role in ("down", "up"):
        shape = (shape[0], math.prod(shape[1:]))
    if role == "magnitude" and len(shape) > 1 and shape[0] == weight[0] and math.prod(shape[1:]) == 1:
        shape = (shape[0],) if len(weight) == 2 else (1, shape[0], 1, 1)  # peft's shapes

    def make() -> torch.Tensor:
        tensor = stored.read(key)
        require_numbers(key, tensor, found)
        return tensor.reshape(shape)

    return NewTensor(stored.dtype(key), shape, make)


def _number(value: float) -> NewTensor:
    def make() -> torch.Tensor:
        import torch

        return torch.tensor(value, dtype=torch.float32)

    return NewTensor("float32", (), make)
