from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from generation import UnsafeWeightsError, WeightsError, WeightsNotFoundError
from generation.model.lora.find import find_lora
from generation.model.weights import find_base

LORA_FILE = "pytorch_lora_weights.safetensors"
UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A base to damage."""
    return Path(shutil.copytree(base, tmp_path / "copy"))


@pytest.fixture
def lora_copy(lora: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lora, tmp_path / "lora-copy"))


def test_a_base_knows_its_size_and_parts(base: Path) -> None:
    found = find_base(base)
    assert (found.name, found.size, found.size_step) == ("tiny-base", 64, 8)
    assert found.scheduler == "EulerDiscreteScheduler"
    assert found.tokenizers == ("tokenizer", "tokenizer_2")
    assert set(found.variants.values()) == {None}


@pytest.mark.parametrize("find", [find_base, find_lora])
@pytest.mark.parametrize("source", ["no/such/folder", "./gone", Path("org/name")])
def test_a_path_that_is_not_there_is_named(find: object, source: str | Path) -> None:
    assert callable(find)
    with pytest.raises(WeightsNotFoundError, match=rf"There is no (base|LoRA) at {Path(source)}"):
        find(Path(source))


@pytest.mark.parametrize("find", [find_base, find_lora])
def test_a_hub_id_that_cannot_be_fetched_says_what_to_try(find: object) -> None:
    assert callable(find)
    with pytest.raises(WeightsNotFoundError, match=r"nobody/nothing.*could not be fetched.*hf auth login.*local path"):
        find("nobody/nothing")


def test_a_folder_without_a_pipeline_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"no model_index\.json"):
        find_base(tmp_path)


def test_a_single_file_is_no_base(base: Path) -> None:
    with pytest.raises(WeightsError, match=r"single file.*coin base import .*safetensors OUT"):
        find_base(base / UNET_FILE)


def test_another_kind_of_pipeline_is_named(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(WeightsError, match="is a FluxPipeline; COIN needs an SDXL base"):
        find_base(copy)


def test_the_refiner_is_named(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"requires_aesthetics_score": True}))
    with pytest.raises(WeightsError, match=r"is SDXL's refiner by its model_index\.json; COIN needs an SDXL base\."):
        find_base(copy)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_index_is_named(content: str, copy: Path) -> None:
    (copy / "model_index.json").write_text(content)
    with pytest.raises(WeightsError, match=r"model_index\.json"):
        find_base(copy)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("unet/config.json", {"sample_size": None}, "are not as diffusers writes them"),
        ("vae/config.json", {"block_out_channels": 5}, "are not as diffusers writes them"),
        ("model_index.json", {"scheduler": ["diffusers"]}, "are not as diffusers writes them"),
        ("model_index.json", {"unet": []}, "incomplete: unet missing"),
        ("model_index.json", {"unet": [None, None]}, "incomplete: unet missing"),
    ],
)
def test_configurations_that_are_damaged_are_named(
    name: str, change: dict[str, object], message: str, copy: Path
) -> None:
    content = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(content | change))
    with pytest.raises(WeightsError, match=message):
        find_base(copy)


def test_a_missing_component_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "text_encoder_2")
    with pytest.raises(WeightsError, match="incomplete: text_encoder_2 missing"):
        find_base(copy)


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / UNET_FILE).unlink()
    with pytest.raises(WeightsNotFoundError, match=r"no safetensors weights in .*unet"):
        find_base(copy)


@pytest.mark.parametrize("kept", [1, 3])
def test_missing_parts_of_weights_are_named(kept: int, copy: Path) -> None:
    name = "unet/diffusion_pytorch_model-0000{}-of-00003.safetensors"
    (copy / UNET_FILE).rename(copy / name.format(kept))
    with pytest.raises(WeightsError, match=r"unet holds only some parts.*-00002-of-00003\.safetensors.* are missing"):
        find_base(copy)


@pytest.mark.parametrize("content", ['{"weight_map": {"a": "../model.safetensors"}}', '{"weight_map": 1}', "{}"])
def test_an_index_that_names_other_files_is_refused(content: str, copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(content)
    with pytest.raises(WeightsError, match=r"index\.json is no index of the weights beside it"):
        find_base(copy)


def test_a_base_of_pickles_is_refused_unread(copy: Path) -> None:
    (copy / UNET_FILE).unlink()
    (copy / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(UnsafeWeightsError, match=r"diffusion_pytorch_model\.bin holds pickled weights.*refused"):
        find_base(copy)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:20], lambda _: b"", lambda _: pickle.dumps([1])])
def test_truncated_or_disguised_weights_are_named(damage: object, copy: Path) -> None:
    assert callable(damage)
    (copy / UNET_FILE).write_bytes(damage((copy / UNET_FILE).read_bytes()))
    with pytest.raises(WeightsError, match=r"unet.*not a whole safetensors file"):
        find_base(copy)


def test_a_base_of_fp16_files_alone_is_found_as_such(copy: Path) -> None:
    for path in copy.glob("*/*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert set(find_base(copy).variants.values()) == {"fp16"}


def test_the_plain_files_win_over_fp16_ones(copy: Path, base: Path) -> None:
    for path in list(copy.glob("*/*.safetensors")):
        shutil.copy(path, path.with_name(f"{path.stem}.fp16.safetensors"))
    assert set(find_base(copy).variants.values()) == {None}
    assert find_base(copy).fingerprint == find_base(base).fingerprint


def test_the_fingerprint_is_of_what_is_loaded(copy: Path, base: Path) -> None:
    original = find_base(base).fingerprint
    assert find_base(copy).fingerprint == original  # wherever the folder is
    (copy / "README.md").write_text("Not loaded.")
    assert find_base(copy).fingerprint == original
    changed = set()
    for name in (UNET_FILE, "vae/config.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"):
        content = (copy / name).read_bytes()
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        (copy / name).write_bytes(content + b" " if name == "vae/config.json" else flipped)
        changed.add(find_base(copy).fingerprint)
        (copy / name).write_bytes(content)
    assert len(changed - {original}) == 4
    assert find_base(copy).fingerprint == original


def test_a_lora_is_a_folder_or_a_file(lora: Path) -> None:
    folder, file = find_lora(lora), find_lora(str(lora / LORA_FILE))
    assert folder.path == file.path == lora / LORA_FILE
    assert folder.fingerprint == file.fingerprint
    assert (folder.name, file.name) == ("tiny-lora", LORA_FILE)


@pytest.mark.parametrize("name", ["lora.bin", "lora.ckpt", "lora.pt", "lora.PTH"])
def test_a_pickled_lora_is_refused_unread(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({}))
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(UnsafeWeightsError, match=rf"{name} holds pickled weights"):
            find_lora(source)


def test_an_empty_folder_is_no_lora(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"holds no \.safetensors file"):
        find_lora(tmp_path)


def test_of_several_loras_the_usual_name_wins_and_others_must_be_chosen(lora_copy: Path) -> None:
    shutil.copy(lora_copy / LORA_FILE, lora_copy / "older.safetensors")
    assert find_lora(lora_copy).path.name == LORA_FILE
    (lora_copy / LORA_FILE).rename(lora_copy / "newer.safetensors")
    with pytest.raises(WeightsError, match=r"several LoRAs .*newer\.safetensors, older\.safetensors.*Name the file"):
        find_lora(lora_copy)


def test_a_truncated_lora_is_named(lora_copy: Path) -> None:
    path = lora_copy / LORA_FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        find_lora(lora_copy)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"<!DOCTYPE html><html>Sign in", WeightsError, r"is a text and no weights \(it begins with '<!DOCTYPE html>"),
        (b'\n{"error": "Entry not found"}', WeightsError, r"""begins with '\{"error".* accepted a model's terms"""),
        (pickle.dumps({"weight": 1}, 2), UnsafeWeightsError, r"pickled file, though its name ends with \.safetensors"),
        (b"PK\x03\x04\x00\x00\x08\x08" + bytes(50), UnsafeWeightsError, r"rename it to \.bin for an import"),
        ((640).to_bytes(8, "little") + b"{}", WeightsError, "not a whole safetensors file"),  # begins as pickles do
        ((1 << 60).to_bytes(8, "little") + b"{}", WeightsError, "not a whole safetensors file .*header too large"),
        (b"", WeightsError, "not a whole safetensors file"),
    ],
)
def test_a_file_under_a_false_name_is_said_to_be_what_it_is(
    content: bytes, error: type[WeightsError], message: str, tmp_path: Path
) -> None:
    (tmp_path / "lora.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as refused:
        find_lora(tmp_path / "lora.safetensors")
    assert type(refused.value) is error
