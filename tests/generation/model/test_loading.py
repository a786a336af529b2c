"""Bases as users have them: parts of several number formats, another VAE; and fingerprints that stay."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import CoinGenerator, Preset, WeightsError
from generation.model.loading import load_vae
from generation.model.lora.find import find_lora
from generation.model.weights import find_base, find_vae
from tests.models import tiny_sdxl
from tests.single_file import single_file

QUICK = Preset("quick", steps=2, guidance=7.5)
VAE_FILE = "vae/diffusion_pytorch_model.safetensors"


def pixels(generator: CoinGenerator) -> np.ndarray:
    return np.asarray(generator.generate("Atypical cells.", n=1, preset=QUICK).images[0].image, dtype=int)


@pytest.fixture(scope="module")
def other_base(base: Path) -> Path:
    return tiny_sdxl(base.parent / "other-base", seed=5)


@pytest.fixture(scope="module")
def swapped(base: Path, other_base: Path) -> np.ndarray:
    """The image of the base with the other's VAE copied into it."""
    folder = Path(shutil.copytree(base, base.parent / "swapped"))
    shutil.rmtree(folder / "vae")
    shutil.copytree(other_base / "vae", folder / "vae")
    return pixels(CoinGenerator(folder, device="cpu"))


def test_fp16_files_with_a_plain_vae_swapped_in_load(base: Path, lora: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "mixed"))
    for path in list(folder.glob("*/*.safetensors")):
        if path.parent.name != "vae":
            halves = {name: tensor.half() for name, tensor in load_file(path).items()}
            save_file(halves, path.with_name(f"{path.stem}.fp16.safetensors"), metadata={"format": "pt"})
            path.unlink()
    assert find_base(folder).variants == {"text_encoder": "fp16", "text_encoder_2": "fp16", "unet": "fp16", "vae": None}
    mixed, full = (pixels(CoinGenerator(source, lora, device="cpu")) for source in (folder, base))
    assert np.abs(mixed - full).mean() < 2


@pytest.mark.slow
def test_another_vae_as_folder_as_base_and_as_file(
    base: Path, other_base: Path, swapped: np.ndarray, tmp_path: Path
) -> None:
    own = single_file(other_base)
    prefix = "first_stage_model."
    published = {name.removeprefix(prefix): tensor for name, tensor in own.items() if name.startswith(prefix)}
    save_file(published, tmp_path / "sdxl_vae.safetensors")
    save_file({f"{prefix}{name}": tensor for name, tensor in published.items()}, tmp_path / "with-prefix.safetensors")
    shutil.copy(other_base / VAE_FILE, tmp_path / "diffusers.safetensors")
    sources = [other_base / "vae", other_base, *sorted(tmp_path.iterdir())]
    for source in sources:
        assert np.array_equal(pixels(CoinGenerator(base, device="cpu", vae=source)), swapped), source
    assert not np.array_equal(pixels(CoinGenerator(base, device="cpu")), swapped)


def test_a_vae_of_a_folder_is_read_from_safetensors_alone(base: Path, other_base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(other_base / "vae", tmp_path / "vae"))
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"a pickle that is not opened")
    read = load_vae(find_vae(folder), None, torch.float32).state_dict()
    wanted = load_file(other_base / VAE_FILE)
    assert read.keys() == wanted.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in wanted.items())


def test_another_vae_is_in_fingerprint_and_name_and_none_changes_nothing(base: Path, other_base: Path) -> None:
    plain, with_vae = find_base(base), find_base(base, vae=other_base / "vae")
    assert plain.fingerprint != with_vae.fingerprint
    assert find_base(base, vae=base / "vae").fingerprint != with_vae.fingerprint
    assert with_vae.name == "tiny-base + vae"
    described = CoinGenerator(base, device="cpu", vae=other_base / "vae").describe()
    assert described["base_fingerprint"] == with_vae.fingerprint


def test_a_vae_of_other_shapes_is_named(base: Path, tmp_path: Path) -> None:
    tensors = load_file(base / VAE_FILE)
    tensors["decoder.conv_in.weight"] = torch.zeros(3, 3)
    save_file(tensors, tmp_path / "vae.safetensors")
    with pytest.raises(WeightsError, match=r"VAE vae\.safetensors does not fit.*the first decoder\.conv_in\.weight"):
        CoinGenerator(base, device="cpu", vae=tmp_path / "vae.safetensors").load()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "2 tensors of unet differ"),
        ("text_encoder/model.safetensors", "1 tensors of text_encoder differ"),
        ("text_encoder_2/model.safetensors", "1 tensors of text_encoder_2 differ"),
        (VAE_FILE, "1 tensors of vae differ"),
    ],
)
@pytest.mark.parametrize("of_another_shape", [False, True])
def test_weights_that_are_not_the_configurations_are_named(
    file: str, message: str, of_another_shape: bool, base: Path, tmp_path: Path
) -> None:
    """By a check of headers, too. transformers would fill the gap with random numbers, diffusers would leave it."""
    folder = Path(shutil.copytree(base, tmp_path / "copy"))
    tensors = load_file(folder / file)
    first = next(name for name in sorted(tensors) if name.endswith("weight"))
    del tensors[first]
    tensors["another.weight"] = torch.zeros(3, 3)  # left alone in a text encoder
    if of_another_shape:
        tensors[first] = torch.zeros(3, 3)
        message = "in the file \\(3, 3\\), by the configuration"
    save_file(tensors, folder / file, metadata={"format": "pt"})
    generator = CoinGenerator(folder, device="cpu")
    with pytest.raises(WeightsError, match=message):
        (generator.requirements if of_another_shape else generator.load)()


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("unet", {"cross_attention_dim": 10**8}),
        ("vae", {"latent_channels": 10**8}),
        ("text_encoder", {"hidden_size": 10**6}),
        ("text_encoder_2", {"vocab_size": 10**10}),
    ],
)
def test_a_part_far_larger_than_its_weights_is_refused_before_it_takes_memory(
    part: str, changed: dict[str, object], base: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "copy"))
    config = json.loads((folder / part / "config.json").read_text())
    (folder / part / "config.json").write_text(json.dumps({**config, **changed}))
    with pytest.raises(WeightsError, match=rf"configuration in .*{part} describes a network far larger than"):
        CoinGenerator(folder, device="cpu").requirements()


def test_quantised_weights_are_refused(base: Path, tmp_path: Path) -> None:
    """Their whole numbers would be taken for the weights themselves."""
    folder = Path(shutil.copytree(base, tmp_path / "copy"))
    tensors = load_file(folder / "text_encoder/model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("weight"))
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, folder / "text_encoder/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="text_encoder holds whole numbers, as quantised weights do"):
        CoinGenerator(folder, device="cpu").requirements()


def test_a_tokenizer_that_is_damaged_is_named(base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "copy"))
    (folder / "tokenizer/vocab.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"The tokenizers of the base copy do not load \(.*\)\. Copy"):
        CoinGenerator(folder, device="cpu").load()


def test_fingerprints_are_those_of_archives_made_before(base: Path, lora: Path) -> None:
    """Written out once more: names relative to the base, hash of each file; of a LoRA, its one file."""

    def fingerprint(folder: Path, names: list[str]) -> str:
        lines = (f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in sorted(names))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    named = ("config.json", "model_index.json", "scheduler_config.json", "tokenizer_config.json", "vocab.json")
    ends = (*named, "merges.txt", ".safetensors")
    names = [path.relative_to(base).as_posix() for path in base.rglob("*") if path.name.endswith(ends)]
    assert len(names) == 4 * 2 + 2 * 3 + 2
    assert find_base(base).fingerprint == fingerprint(base, names)
    assert find_lora(lora).fingerprint == fingerprint(lora, ["pytorch_lora_weights.safetensors"])
    assert find_vae(base).files == (base / "vae/config.json", base / VAE_FILE)


def test_the_starters_fingerprints() -> None:
    """Archives and caches hold them: a change of the code must not change them (a new starter does)."""
    described = CoinGenerator(device="cpu").describe()
    assert (described["base_fingerprint"][:16], described["lora_fingerprint"][:16]) == (
        "c40bcdcba3d1846c",
        "397e3d3f1dbd505a",
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_format_is_chosen(dtype: str, base: Path, lora: Path) -> None:
    generator = CoinGenerator(base, lora, device="cpu", dtype=dtype)
    generator.load()
    assert generator.describe()["dtype"] == dtype
    assert generator._loaded is not None
    assert {str(value.dtype) for value in generator._loaded.unet.parameters()} == {f"torch.{dtype}"}
    assert not any(value.requires_grad for value in generator._loaded.unet.parameters()), "inference keeps no gradients"
