"""A base on disk: which files make it up, whether they can be used, and its fingerprint.

Checked before any model is built, because the loaders' own messages are misleading (a missing LoRA folder, for one,
is reported as "offline mode") and because pickled weights must be refused before anything opens them. Reads headers
and hashes only; imports neither torch nor diffusers for local weights.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from generation.errors import WeightsError, WeightsNotFoundError
from generation.model.files.base_files import CONFIGS, indices_in, no_base, wanted_files, weights_in
from generation.model.files.hub import fetch, split_hub_id
from generation.model.files.weight_files import (
    STARTER,
    check_index,
    check_safetensors,
    display_name,
    fingerprint,
    is_pickled,
    missing_shards,
    pickled_among,
    read_json,
    refusal,
)

_WITHOUT_WEIGHTS = {"scheduler", "tokenizer", "tokenizer_2", "feature_extractor"}
_REQUIRED = (
    "unet",
    "vae",
    "text_encoder_2",
    "tokenizer_2",
    "scheduler",
)  # SDXL can do without the first encoder


@dataclass(frozen=True)
class Vae:
    """Another autoencoder in the place of a base's own: a folder in diffusers' layout, or one file (`folder` None)."""

    name: str
    folder: Path | None
    variant: str | None
    files: tuple[Path, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and contents of the files."""
        return fingerprint({path.name: path for path in self.files})


@dataclass(frozen=True)
class Base:
    """An SDXL base in diffusers' folder layout.

    `variants` says for each component with weights which of its files are loaded: "fp16", or None for the plain ones.
    """

    name: str
    folder: Path
    variants: Mapping[str, str | None]
    files: tuple[Path, ...]
    vae: Vae | None = field(default=None)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and contents of the files that are loaded; hashed once a process."""
        own = fingerprint({path.relative_to(self.folder).as_posix(): path for path in self.files})
        if self.vae is None:
            return own
        return hashlib.sha256(f"{own}\nvae {self.vae.fingerprint}".encode()).hexdigest()

    def config(self, component: str) -> dict[str, Any]:
        """A component's config.json, as written."""
        folder = self.folder / component
        if component == "vae" and self.vae is not None and self.vae.folder is not None:
            folder = self.vae.folder
        return read_json(folder / "config.json")

    def weights(self, component: str) -> list[Path]:
        """The files of a component's weights."""
        if component == "vae" and self.vae is not None and self.vae.folder is not None:
            return weights_in(self.vae.folder, self.vae.variant)
        return weights_in(self.folder / component, self.variants[component])

    @property
    def scheduler(self) -> str:
        """The class name of the scheduler that the base ships with."""
        return str(read_json(self.folder / "model_index.json")["scheduler"][1])

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The folders of the tokenizers that this base has: both, or `tokenizer_2` alone."""
        return tuple(name for name in ("tokenizer", "tokenizer_2") if (self.folder / name).is_dir())

    @property
    def size(self) -> int:
        """The edge in pixels of the images that the base was trained on."""
        return int(self.config("unet")["sample_size"]) * self._scale

    @property
    def size_step(self) -> int:
        """Image edges must be a multiple of this: of the VAE's scale, and of 8, which the pipeline insists on."""
        return math.lcm(8, self._scale)

    @property
    def _scale(self) -> int:
        return 2 ** (len(self.config("vae")["block_out_channels"]) - 1)


def find_base(source: str | Path, *, half: bool = False, vae: str | Path | None = None) -> Base:
    """The base at `source`: a folder in diffusers' layout, or a hub id `org/name` (fetched if not there yet).

    Args:
        half: of a hub id, take the fp16 files where there are any: half the size, and all that a GPU uses.
        vae: another autoencoder in the place of the base's own (`find_vae`).

    Raises `WeightsNotFoundError`, `UnsafeWeightsError` (nothing but pickles) or `WeightsError` (not an SDXL pipeline,
    incomplete, corrupt).
    """
    folder = Path(source).expanduser()
    if folder.is_file():
        raise WeightsError(
            f"The base {folder} is a single file. Bring it into diffusers' layout once, and give the folder: "
            f"coin base import {shlex.quote(str(folder))} OUT"
        )
    own = find_vae(vae, half=half) if vae is not None else None
    name = display_name(source) if own is None else f"{display_name(source)} + {own.name}"
    if folder.is_dir():
        return Base(name, folder, *_read_base(folder, source, half=False), own)
    hub_id = _hub_id(source, "base")
    folder = fetch(hub_id, "base", lambda names: wanted_files(names, half=half, base=hub_id))
    try:
        return Base(name, folder, *_read_base(folder, source, half=half), own)
    except WeightsError as error:
        said = str(error).replace(str(folder), hub_id)
        if "import" not in said:
            said += " (It was read from the hub's cache, which may hold only a part: connect to the hub once.)"
        raise type(error)(said) from error


def _read_base(folder: Path, source: str | Path, *, half: bool) -> tuple[dict[str, str | None], tuple[Path, ...]]:
    """`Base.variants` and `Base.files` of a folder. Raises `WeightsError` and what is below it."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise no_base(str(folder), [path.name for path in folder.glob("*")])
    components = components_of(folder)
    with_weights = [name for name in components if name not in _WITHOUT_WEIGHTS]
    variants = _choose_variants(
        {name: folder / name for name in with_weights}, f"coin base import {shlex.quote(str(source))} OUT", half=half
    )
    weights = [path for name in with_weights for path in _whole_weights(folder / name, variants[name])]
    configs = [path for name in components for path in (folder / name).iterdir() if path.name in CONFIGS]
    found = Base("", folder, variants, (index, *configs, *weights))
    try:
        _ = found.size, found.size_step, found.scheduler
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise WeightsError(
            f"The configurations of the base in {folder} are not as diffusers writes them ({type(error).__name__}: "
            f"{error}). Copy it anew."
        ) from error
    return variants, found.files


def find_vae(source: str | Path, *, half: bool = False) -> Vae:
    """An autoencoder of SDXL: a folder in diffusers' layout (or with `vae/` in it), a .safetensors file, or a hub id.

    Raises what `find_base` raises.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if is_pickled(path):
            raise refusal(path)
        check_safetensors(path)
        return Vae(display_name(source), None, None, (path,))
    local = path.is_dir()
    if not local:
        path = fetch(_hub_id(source, "VAE"), "VAE", lambda names: wanted_files(names, half=half))
    folder = next((other for other in (path, path / "vae") if (other / "config.json").is_file()), None)
    if folder is None:
        raise WeightsNotFoundError(f"There is no VAE in {path}: it has no config.json. Give its folder, or its file.")
    kind = read_json(folder / "config.json").get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        raise WeightsError(f"The VAE in {folder} is a {kind}; SDXL needs an AutoencoderKL.")
    variant = _choose_variants({"vae": folder}, half=half and not local)["vae"]
    weights = _whole_weights(folder, variant)
    return Vae(display_name(source), folder, variant, (folder / "config.json", *weights))


def components_of(folder: Path) -> list[str]:
    """The names of the components of the SDXL pipeline in `folder`. Raises `WeightsError` for another pipeline."""
    listed = read_json(folder / "model_index.json")
    kind = str(listed.get("_class_name", ""))
    if not kind.startswith("StableDiffusionXL"):
        raise WeightsError(f"The base in {folder} is a {kind or 'pipeline without a name'}; COIN needs an SDXL base.")
    if listed.get("requires_aesthetics_score"):
        raise WeightsError(f"The base in {folder} is SDXL's refiner by its model_index.json; COIN needs an SDXL base.")
    components = sorted(name for name, value in listed.items() if isinstance(value, list) and value and value[0])
    missing = [name for name in {*components, *_REQUIRED} if name not in components or not (folder / name).is_dir()]
    if missing:
        raise WeightsError(f"The base in {folder} is incomplete: {', '.join(sorted(missing))} missing. Copy it anew.")
    return components


def _whole_weights(component: Path, variant: str | None) -> list[Path]:
    """The files of `weights_in`, every part of them there and whole. Raises `WeightsError`."""
    files = weights_in(component, variant)
    if missing := missing_shards(path.name for path in files):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise WeightsError(
            f"{component} holds only some parts of its weights: {', '.join(missing[:3])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Copy or download the base anew."
        )
    for path in files:
        check_safetensors(path)
    for index in indices_in(component, variant):
        check_index(index, files)
    return files


def _hub_id(source: str | Path, what: str) -> str:
    split = split_hub_id(source)
    if split is None or split[1]:
        hint = " The starter is part of this project: install it again." if STARTER in Path(source).parents else ""
        if split is not None and PurePosixPath(split[1]).suffix:
            hint = (
                f" A single file of the hub is brought in once: coin base import {source} OUT" if what == "base" else ""
            )
        raise WeightsNotFoundError(
            f"There is no {what} at {source}. Give a local path that exists, or a hub id of the form org/name.{hint}"
        )
    return split[0]


def _choose_variants(components: Mapping[str, Path], command: str = "", *, half: bool) -> dict[str, str | None]:
    """The variant of each component: plain files where all have them, else fp16 ones where there are any.

    A base of fp16 files into which a plain part was put (another VAE) is so loaded as it is.

    Args:
        command: what brings pickled weights in, if anything does.
        half: fp16 first.
    """
    plain = not half and all(weights_in(folder, None) for folder in components.values())
    chosen: dict[str, str | None] = {}
    for name, folder in components.items():
        if not plain and weights_in(folder, "fp16"):
            chosen[name] = "fp16"
        elif weights_in(folder, None):
            chosen[name] = None
        elif pickled := pickled_among(folder.iterdir()):
            raise refusal(pickled, command)
        else:
            raise WeightsNotFoundError(f"There are no safetensors weights in {folder}. Copy the base anew.")
    return chosen
