"""`coin encoder import`: a published encoder in any layout becomes a folder of ours, and is tried before it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from generation import (
    HOW_IT_WAS_READ,
    ImportCard,
    Licence,
    convert_pickled,
    hub_revision,
    published_licence,
    sha256_of,
    write_import_card,
)
from generation.atomic_write import fresh_folder
from generation.model.files.stored_weights import StoredWeights
from retrieval.encoder.encoder import Encoder
from retrieval.encoder.formats import open_clip_folder, transformers_folder
from retrieval.encoder.formats.files import (
    DESCRIPTION,
    EncoderFiles,
    check_safetensors,
    has_tokenizer_files,
    read_description,
    read_json,
)
from retrieval.encoder.importing.architecture import add_arguments, as_trained, heads_note, named_config, unwrapped
from retrieval.encoder.importing.source import EncoderSource, find_source
from retrieval.encoder.importing.text_tower import text_tower_config
from retrieval.encoder.model_files import HUB_FILES, read_encoder_folder
from retrieval.errors import EncoderLoadError, EncodingError

_NAME_A_FORMAT: Final = (open_clip_folder.CONFIG, transformers_folder.CONFIG)
_UNWRAPPED: Final = "Names that the training put before all tensors were taken off, and its own heads left out."
_TRIED: Final = "Negative for malignant cells."


@dataclass(frozen=True)
class ImportedEncoder:
    """What an import made."""

    folder: Path
    files: EncoderFiles
    changes: tuple[str, ...]
    """What was changed on the way, a sentence each."""
    notes: tuple[str, ...]
    """What the user should know before using it."""


def import_encoder(
    source: str | Path,
    out: str | Path,
    *,
    arch: str | None = None,
    text_config: Path | None = None,
    pooling: str | None = None,
    mpp: float | None = None,
    field_um: float | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> ImportedEncoder:
    """Bring an encoder in. The new folder appears whole or not at all, and only if the model loads and encodes.

    Args:
        source: a hub id, a folder or a file, in the layout of open_clip, transformers or timm; weights may be pickled.
        out: the new folder.
        arch: the architecture, for weights without a configuration (see `named_config`).
        text_config: the configuration of a text tower of transformers, where it is not beside the weights.
        pooling: how a model that reads images only makes one vector, where its files do not say (`POOLINGS`).
        mpp: the scale that the model wants, in µm a pixel, where its authors state one.
        field_um: cut images whose scale is known into fields of this side in µm, and take the mean of their vectors.
        model_args: arguments of a model of timm that its authors set in code and no file says.

    Raises:
        EncoderLoadError: the source is missing, incomplete, of another kind, or does not load.
        generation.WeightsError: pickled weights cannot be read, or hold more than tensors.
        FileExistsError: there is something at `out`.
    """
    found = find_source(source)
    run = arch is None and found.settings.get("model")
    arch = found.settings.get("model") if arch is None else arch
    out = Path(out)
    with fresh_folder(out) as folder:
        earlier = read_description(found.folder)  # of a folder that was imported before
        settings = {"pooling": pooling, "mpp": mpp, "field_um": field_um}
        described = {name: given or earlier.get(name) for name, given in settings.items()}
        try:
            changes, notes = _write(found, folder, arch, text_config)
            if run:
                notes = [f"The architecture ({arch}) is that of the training run's params.txt.", *notes]
                as_trained(found.settings, folder)
            if model_args:
                add_arguments(folder, model_args)
            files = _described(folder, found.name, described)
            _try(folder, files)
            notes += heads_note(files)
        except (EncoderLoadError, EncodingError) as error:
            message = str(error).replace(str(folder), str(source)).replace(folder.name, found.name)
            if run:
                message += f" (The architecture {arch} is that of the run's params.txt; --arch names another.)"
            if text_config is not None and "--text-config" not in message:
                message += f" (The text tower's configuration was {text_config}: it may be of another model.)"
            raise EncoderLoadError(message) from error
        used = [path for name in HUB_FILES if (path := found.folder / name).is_file() and (folder / name).is_file()]
        card = ImportCard(
            kind="Encoder",
            source=found.name,
            revision=hub_revision(found.folder),
            licence=published_licence(found.folder) if (found.folder / "README.md").is_file() else Licence(),
            read=sha256_of([*used, *found.weights], found.folder),
            changes=tuple(changes),
            use="coin add MANIFEST --encoder THIS_FOLDER",
        )
        write_import_card(folder, card)
    return ImportedEncoder(out, read_encoder_folder(out, name=out.resolve().name), tuple(changes), tuple(notes))


def _write(
    source: EncoderSource, folder: Path, arch: str | None, text_config: Path | None
) -> tuple[list[str], list[str]]:
    """Write weights and configuration; returns what was changed, and notes."""
    changes, notes = [], []
    if source.pickled:
        changes.append(HOW_IT_WAS_READ)
    # A file of its own is taken by itself: what lies beside it may belong to something else.
    alone = arch is not None or not any((source.folder / name).is_file() for name in _NAME_A_FORMAT)
    if alone:
        stored, taken = _tensors(source.weights, folder)
        tensors = unwrapped(stored)
        changes += taken
        changes += [_UNWRAPPED] if tensors.keys() != stored.keys() else []
        own_shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        name, config, note = named_config(arch, source.name, own_shapes)
        notes.append(note)
        _write_json(folder / name, config)
        _save(
            tensors, folder / (open_clip_folder.WEIGHTS[0] if name == open_clip_folder.CONFIG else "model.safetensors")
        )
        return changes, notes
    for file in HUB_FILES:
        if (source.folder / file).is_file():
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(source.folder / file, folder / file)
    is_open_clip = open_clip_folder.recognises(folder)
    if is_open_clip and (folder / "config.json").is_file():
        (folder / "config.json").unlink()  # of the same model in another format
    changes += _copy_weights(source, folder, open_clip=is_open_clip)
    if is_open_clip:
        text = read_json(folder / open_clip_folder.CONFIG).get("model_cfg", {}).get("text_cfg", {})
        if text.get("hf_model_name"):
            shapes = StoredWeights([folder / open_clip_folder.WEIGHTS[0]]).shapes
            config, note = text_tower_config(source.folder, text, shapes, text_config)
            (folder / open_clip_folder.TEXT_TOWER).mkdir(exist_ok=True)
            _write_json(folder / open_clip_folder.TEXT_TOWER / "config.json", config)
            changes += [note] if note else []
        if text.get("hf_tokenizer_name") and not has_tokenizer_files(folder):
            notes += _fetch_tokenizer(str(text["hf_tokenizer_name"]), folder)
    elif transformers_folder.recognises(folder):
        notes += _notes_of_transformers(folder)
    return changes, notes


def _notes_of_transformers(folder: Path) -> list[str]:
    """What a folder in the layout of transformers lacks, or has and does not use."""
    config, notes = read_json(folder / transformers_folder.CONFIG), []
    if "text_config" in config and not has_tokenizer_files(folder):
        notes.append(
            "The source has a text tower and no tokenizer files (tokenizer.json, or vocab.json and merges.txt …): the "
            "encoder reads images, and texts once these are in the folder."
        )
    if "auto_map" in config:
        notes.append(
            "The source runs code of its own (auto_map), which is never run here: the model is what transformers "
            "itself makes of its configuration. If its vectors should come out otherwise, use an adapter "
            "(docs/models.md)."
        )
    return notes


def _copy_weights(source: EncoderSource, folder: Path, *, open_clip: bool) -> list[str]:
    """Safetensors are copied byte for byte, so that the fingerprint is that of the published files.

    Returns what was changed.
    """
    target = folder / (open_clip_folder.WEIGHTS[0] if open_clip else "model.safetensors")
    if source.pickled and len(source.weights) == 1:
        taken = _averages(convert_pickled(source.weights[0], target))
        names = StoredWeights([target]).shapes
        if unwrapped(names).keys() != names.keys():
            _save(unwrapped(_tensors((target,), folder)[0]), target)
            taken.append(_UNWRAPPED)
        return taken
    if source.pickled:
        tensors, taken = _tensors(source.weights, folder)
        _save(tensors, target)
        return taken
    if len(source.weights) == 1:
        shutil.copyfile(source.weights[0], target)
    else:
        for path in source.weights:
            shutil.copyfile(path, folder / path.name)
    return []


def _averages(left_out: Sequence[str]) -> list[str]:
    """A sentence where a pickled file held its weights and their moving average."""
    return [f"Of the file was left out: {name}." for name in left_out if "moving average" in name]


def _tensors(files: Sequence[Path], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The tensors of all files, and which of several sets they are; pickled files are converted in `folder` first."""
    from safetensors.torch import load_file

    from generation import as_safetensors

    tensors: dict[str, Any] = {}
    taken: list[str] = []
    for path in files:
        with as_safetensors(path, folder) as (readable, left_out):
            check_safetensors(readable)
            tensors |= {name: tensor.clone() for name, tensor in load_file(readable).items()}
            taken += _averages(left_out)
    return tensors, taken


def _save(tensors: Mapping[str, Any], target: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensors[name].contiguous().clone() for name in sorted(tensors)}, target, metadata={"format": "pt"})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _fetch_tokenizer(name: str, folder: Path) -> list[str]:
    """Bring the tokenizer that the configuration names; a note where it cannot be had."""
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(name, trust_remote_code=False).save_pretrained(folder)
    except (OSError, ValueError, KeyError, ImportError) as error:
        return [
            f"The tokenizer ('{name}') is not beside the weights and could not be fetched ({type(error).__name__}): "
            "the encoder reads images, and texts once its tokenizer's files are in the folder."
        ]
    return []


def _described(folder: Path, name: str, described: Mapping[str, Any]) -> EncoderFiles:
    """Write what the published files do not say, and read the folder as every command will."""
    kept = {key: value for key, value in described.items() if value is not None}
    _write_json(folder / DESCRIPTION, kept)
    files = read_encoder_folder(folder, name=name)
    found = getattr(files, "pooling", None)
    known = {
        **kept,
        **({"pooling": found} if found else {}),
        "format": files.format,
        "dim": files.dim,
        "image_size": files.image_size,
        "reads": [what for what, reads in (("images", files.reads_images), ("texts", files.reads_texts)) if reads],
    }
    _write_json(folder / DESCRIPTION, known)
    return files


def _try(folder: Path, files: EncoderFiles) -> None:
    """Load the model and encode an image and a text. Raises EncoderLoadError."""
    from PIL import Image

    encoder = Encoder(folder, device="cpu")
    if files.reads_images:
        size = files.image_size or 224
        gradient = Image.linear_gradient("L").resize((size, size)).convert("RGB")
        try:
            first, second = (encoder.encode_images([gradient]) for _ in range(2))
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            raise EncoderLoadError(
                f"{folder} loads, and cannot encode an image as it is used here ({type(error).__name__}: {error}). "
                "Models of several inputs, and poolings that need tokens on a model that has none, are not read."
            ) from error
        if not np.allclose(first, second, atol=1e-4):
            raise EncoderLoadError(
                f"{folder} makes another vector of the same image at each call, as models do that hide parts of it at "
                "random (masked autoencoders). It cannot be used to compare images."
            )
    if files.reads_texts:
        encoder.encode_texts([_TRIED])
