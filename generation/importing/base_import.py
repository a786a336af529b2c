"""`coin base import`: an SDXL base as others publish it becomes a folder of safetensors in diffusers' layout.

Read are: a folder in that layout or a hub id, pickled or not, of fp16 or full files; and a single-file checkpoint in
Stability's layout, whose configurations and tokenizers are those of SDXL 1.0 or of another base that is named.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from generation.errors import WeightsError, WeightsNotFoundError
from generation.importing.imported import Imported, Importing, finish, importing
from generation.importing.layout import sdxl_folder, sdxl_models, tensor_shapes
from generation.model.files.base_files import CONFIGS, no_base, wanted_files
from generation.model.files.hub import fetch, split_hub_id
from generation.model.files.single_file import NOT_WEIGHTS, PREFIXES, other_kind, single_file_names, taken_shape
from generation.model.files.stored_weights import NewTensor, StoredWeights, write_weights
from generation.model.files.weight_files import check_index, check_safetensors, is_pickled, read_json
from generation.model.loading import part_models
from generation.model.pickled import HOW_IT_WAS_READ, as_safetensors, convert_pickled
from generation.model.weights import components_of, find_base

_PICKLED = re.compile(r"(?:diffusion_)?pytorch_model((?:\.\w+)?(?:-\d{5}-of-\d{5})?)\.bin")
_PICKLED_INDEX = re.compile(r"((?:diffusion_)?pytorch_model(?:\.\w+)?)\.bin\.index((?:\.\w+)?)\.json")
_SHOWN = 3


def import_base(
    source: str | Path, out: str | Path, *, layout: str | Path | None = None, half: bool = False
) -> Imported:
    """Import a base from a folder, a file, a hub id or a file of one into the new folder `out`.

    Args:
        layout: for a single file, a base in diffusers' layout whose configurations and tokenizers it has; None is
            SDXL 1.0.
        half: of a hub id, take the fp16 files where there are any.

    Raises:
        WeightsError and what is below it: `source` cannot be found or read, is no SDXL base, or `out` exists.
    """
    with importing(out) as work:
        found = Path(source).expanduser()
        if not found.exists():
            found = _fetched(source, half=half)
        if found.is_file():
            _single_file(found, layout, work)
        else:
            _folder(found, source, work)
        find_base(work.folder)  # whole, and of SDXL
        return finish(
            work, out, kind="SDXL base", source=source, found=found, use=f"coin generate --base {Path(out).name}"
        )


def _fetched(source: str | Path, *, half: bool) -> Path:
    """The folder of a hub id in the cache, or the one file of it that `source` names. Raises `WeightsNotFoundError`."""
    split = split_hub_id(source)
    if split is None or (split[1] and not PurePosixPath(split[1]).suffix):
        raise WeightsNotFoundError(
            f"There is no base at {source}. Give a local path that exists, or a hub id of the form org/name or "
            "org/name/file.safetensors."
        )
    hub_id, inside = split

    def wanted(names: list[str]) -> list[str]:
        if not inside:
            return wanted_files(names, half=half, pickled=True, base=hub_id)
        return [name for name in names if name == inside or name.lower().startswith(("readme", "licen"))]

    found = fetch(hub_id, "base", wanted) / inside
    if not found.exists():
        raise WeightsNotFoundError(f"The hub's repository {hub_id} has no file {inside}, or it is not in the cache.")
    return found


def _folder(found: Path, source: str | Path, work: Importing) -> None:
    if not (found / "model_index.json").is_file():
        raise no_base(str(source), [path.name for path in found.glob("*")])
    components = components_of(found)
    names = [path.relative_to(found).as_posix() for path in sorted(found.rglob("*")) if path.is_file()]
    here = [name for name in names if "/" not in name or name.partition("/")[0] in components]
    for name in wanted_files(here, half=False, pickled=True):
        path = found / name
        if name.lower().startswith(("readme", "licen")):
            continue  # the card says what they say, and copies the licence
        work.reads(path, name)
        (work.folder / name).parent.mkdir(exist_ok=True)
        if not is_pickled(path):
            shutil.copyfile(path, work.folder / name)
            continue
        new = _renamed(path.name, _stem(name))
        work.left_out += [f"{name}: {entry}" for entry in convert_pickled(path, (work.folder / name).with_name(new))]
        work.changed(HOW_IT_WAS_READ)
        _index(path.parent, work.folder / path.parent.name, _stem(name))


def _renamed(file: str, stem: str) -> str:
    return _PICKLED.sub(lambda match: f"{stem}{match[1]}.safetensors", file)


def _stem(name: str) -> str:
    """The library's name for safetensors: transformers' differs from that of its pickles."""
    return "diffusion_pytorch_model" if "diffusion_pytorch_model" in name else "model"


def _index(source: Path, target: Path, stem: str) -> None:
    """Write the index of converted shards, which names their files."""
    for path in source.iterdir():
        if match := _PICKLED_INDEX.fullmatch(path.name):
            check_index(path, source.iterdir())
            index = read_json(path)
            renamed = {name: _renamed(file, stem) for name, file in index["weight_map"].items()}
            variant = match[1].partition("pytorch_model")[2] or match[2]
            new = json.dumps({**index, "weight_map": renamed}, indent=2, sort_keys=True)
            (target / f"{stem}.safetensors.index{variant}.json").write_text(new, encoding="utf-8")


def _single_file(found: Path, layout: str | Path | None, work: Importing) -> None:
    work.reads(found, found.name)
    with (
        tempfile.TemporaryDirectory(dir=work.folder) as scratch,
        as_safetensors(found, Path(scratch)) as (path, left_out),
    ):
        if is_pickled(found):
            work.changed(HOW_IT_WAS_READ)
        work.left_out += left_out
        check_safetensors(path)
        stored = StoredWeights([path])
        if kind := other_kind(stored.shapes):
            raise WeightsError(f"{found} is {kind}; COIN needs an SDXL base.")
        described = sdxl_folder(scratch) if layout is None else find_base(layout).folder
        models = sdxl_models() if layout is None else part_models(find_base(layout))
        used: set[str] = set()
        for component, model in models.items():
            used |= _component(component, model, stored, found, work)
        left = [name for name in stored.shapes if name not in used and not NOT_WEIGHTS.fullmatch(name)]
        if left:
            work.left_out += left
        for name in [*components_of(described), "model_index.json"]:
            place = described / name
            for config in [place] if place.is_file() else [path for path in place.iterdir() if path.name in CONFIGS]:
                target = work.folder / config.relative_to(described)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(config, target)
    whose = "SDXL 1.0" if layout is None else Path(layout).name
    work.changed("Tensors were renamed from the single-file layout to diffusers'; their values are as they were.")
    work.changed(f"Configurations and tokenizers, which a single file does not hold, are those of {whose}.")


def _component(component: str, model: Any, stored: StoredWeights, found: Path, work: Importing) -> set[str]:
    """Write the weights of a component; returns the names of the tensors that were used."""
    shapes = tensor_shapes(component, model)
    prefix = PREFIXES[component]
    tensors: dict[str, NewTensor] = {}
    used, wrong = set(), []
    for name, other, take in single_file_names(component, shapes):
        key = prefix + other
        shape = shapes[name]
        if key not in stored or taken_shape(stored.shapes[key], take) != shape:
            there = "missing" if key not in stored else f"{list(stored.shapes[key])} there"
            wrong.append(f"{key} is {there}, {list(shape)} by the configuration")
            continue
        used.add(key)
        tensors[name] = NewTensor(stored.dtype(key), shape, lambda key=key, take=take: take(stored.read(key)))  # type: ignore[misc]
    if wrong:
        raise WeightsError(
            f"{found} is no single-file checkpoint of this SDXL layout: of the {component}, {len(wrong)} of "
            f"{len(shapes)} tensors are missing or of another shape ({'; '.join(wrong[:_SHOWN])}). Name a base of its "
            "kind (--layout), or give a folder in diffusers' layout."
        )
    (work.folder / component).mkdir()
    stem = "diffusion_pytorch_model" if component in ("unet", "vae") else "model"
    write_weights(work.folder / component / f"{stem}.safetensors", tensors)
    return used
