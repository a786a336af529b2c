"""Bases of others become folders of ours."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import UnsafeWeightsError, WeightsError, WeightsNotFoundError, import_base
from generation.importing import sdxl_layout
from generation.importing.layout import sdxl_models, tensor_shapes
from generation.model.pickled_child import convert
from generation.model.weights import find_base, find_vae
from tests.single_file import single_file

FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}


CONVERT = "generation.importing.base_import.convert_pickled"


def in_this_process(source: Path, target: Path) -> tuple[str, ...]:
    """The child's work without the seconds of a new process."""
    return tuple(convert(source, target))


@pytest.fixture(scope="module")
def checkpoint(base: Path) -> dict[str, torch.Tensor]:
    return single_file(base)  # type: ignore[return-value]


def bare(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}


def assert_same_weights(folder: Path, base: Path) -> None:
    for part, file in FILES.items():
        found, wanted = bare(load_file(folder / part / file)), bare(load_file(base / part / file))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items()), part


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_single_file_becomes_the_folder_it_was_made_of(
    base: Path, checkpoint: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file({**checkpoint, "model_ema.decay": torch.zeros(1)}, tmp_path / "tiny.safetensors")
    made = import_base(tmp_path / "tiny.safetensors", tmp_path / "out", layout=base)
    assert_same_weights(tmp_path / "out", base)
    assert made.left_out == ("model_ema.decay",)
    assert find_base(tmp_path / "out").size == 64
    card = (tmp_path / "out" / "README.md").read_text()
    for name in ("tiny.safetensors", "unet/diffusion_pytorch_model.safetensors"):
        path = tmp_path / name if "/" not in name else tmp_path / "out" / name
        assert f"| {name} | {hashlib.sha256(path.read_bytes()).hexdigest()} |" in card
    assert "Configurations and tokenizers, which a single file does not hold, are those of tiny-base." in card
    import_base(tmp_path / "tiny.safetensors", tmp_path / "again", layout=base)
    first, second = contents(tmp_path / "out"), contents(tmp_path / "again")
    assert {name: value for name, value in first.items() if name != "README.md"} == {
        name: value for name, value in second.items() if name != "README.md"
    }
    assert first["README.md"].replace(b"base out", b"base again") == second["README.md"]


@pytest.mark.slow
def test_a_pickled_checkpoint_of_half_precision(
    base: Path, checkpoint: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    content = {"state_dict": {name: tensor.half() for name, tensor in checkpoint.items()}, "epoch": 1}
    torch.save(content, tmp_path / "tiny.ckpt")
    made = import_base(tmp_path / "tiny.ckpt", tmp_path / "out", layout=base)
    assert made.left_out == ("epoch",)
    assert any("process of its own" in change for change in made.changes)
    unet, wanted = (load_file(folder / "unet" / FILES["unet"]) for folder in (tmp_path / "out", base))
    assert all(torch.equal(unet[name], tensor.half()) for name, tensor in wanted.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny.ckpt"]


def test_a_checkpoint_of_another_kind_is_named_and_nothing_is_left(
    base: Path, checkpoint: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    some = {name: tensor for name, tensor in checkpoint.items() if "middle_block.2" not in name}
    save_file(some, tmp_path / "tiny.safetensors")
    with pytest.raises(
        WeightsError, match=r"of the unet, \d+ of \d+ tensors are missing .*middle_block\.2\S+ is missing"
    ):
        import_base(tmp_path / "tiny.safetensors", tmp_path / "out", layout=base)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cond_stage_model.transformer.text_model.embeddings.position_ids", "Stable Diffusion 1 or 2"),
        ("conditioner.embedders.0.model.ln_final.weight", "SDXL's refiner"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("unet.down_blocks.0.attn1.to_q.lora_A.weight", r"a LoRA \(`coin lora import`"),
        ("lora_unet_down_blocks_1_attn1_to_q.lora_down.weight", "a LoRA"),
    ],
)
def test_a_file_of_another_model_is_named(name: str, kind: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(
        WeightsError, match=rf"other\.safetensors is a .*{kind.removeprefix('a ')}.*; COIN needs an SDXL"
    ):
        import_base(tmp_path / "other.safetensors", tmp_path / "out")


def test_a_folder_of_pickles_is_converted_and_its_licence_kept(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CONVERT, in_this_process)
    source = Path(shutil.copytree(base, tmp_path / "source"))
    (source / "README.md").write_text("---\nlicense: openrail++\n---\n")
    (source / "LICENSE.md").write_text("The terms.")
    for part, file in list(FILES.items())[1:3]:
        weights = load_file(source / part / file)
        (source / part / file).unlink()
        name = file.replace(".safetensors", ".bin").replace("model", "pytorch_model" if part != "vae" else "model")
        torch.save(weights, source / part / name)
    with pytest.raises(UnsafeWeightsError, match=r"coin base import /.* OUT"):
        find_base(source)
    made = import_base(source, tmp_path / "out")
    assert_same_weights(tmp_path / "out", base)
    assert made.licence == "openrail++"
    assert (tmp_path / "out" / "LICENSE.md").read_text() == "The terms."
    assert not list((tmp_path / "out").rglob("*.bin"))
    with pytest.raises(WeightsError, match=r"something at .*out already"):
        import_base(source, tmp_path / "out")


def test_a_folder_of_fp16_files_stays_one(base: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(base, tmp_path / "source"))
    for path in list(source.glob("*/*.safetensors")):
        if path.parent.name != "vae":
            path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    import_base(source, tmp_path / "out")
    assert find_base(tmp_path / "out").variants["unet"] == "fp16"
    assert find_base(tmp_path / "out").fingerprint == find_base(source).fingerprint


def test_shards_and_their_index_are_converted(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONVERT, in_this_process)
    source = Path(shutil.copytree(base, tmp_path / "source"))
    part = source / "text_encoder_2"
    weights = load_file(part / "model.safetensors")
    (part / "model.safetensors").unlink()
    names = sorted(weights)
    files = {}
    for number, some in enumerate((names[:10], names[10:]), 1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: weights[name] for name in some}, part / file)
        files |= dict.fromkeys(some, file)
    (part / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin\.index\.json is no index of the weights beside it"):
        import_base(source, tmp_path / "out")
    (part / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    import_base(source, tmp_path / "out")
    index = json.loads((tmp_path / "out/text_encoder_2/model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    assert len(find_base(tmp_path / "out").weights("text_encoder_2")) == 2


def test_sdxls_own_configurations_are_the_same_bytes_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprints of imported checkpoints, which archives hold, depend on them."""
    monkeypatch.setattr(sdxl_layout, "write_tokenizer", lambda *_: None)  # a second for what is not looked at
    sdxl_layout.write_sdxl_layout(tmp_path)
    written = contents(tmp_path)
    classes = {name: json.loads(content).get("_class_name") for name, content in written.items()}
    assert classes == {
        "model_index.json": "StableDiffusionXLPipeline",
        "scheduler/scheduler_config.json": "EulerDiscreteScheduler",
        "text_encoder/config.json": None,
        "text_encoder_2/config.json": None,
        "unet/config.json": "UNet2DConditionModel",
        "vae/config.json": "AutoencoderKL",
    }
    digest = hashlib.sha256(b"".join(written[name] for name in sorted(written))).hexdigest()
    assert digest[:16] == "d88bf78385f50b81"


@pytest.mark.slow
def test_sdxls_own_layout_is_there_offline() -> None:
    models = sdxl_models()
    assert sum(value.numel() for value in models["unet"].state_dict().values()) == 2_567_463_684
    assert "text_model.encoder.layers.11.mlp.fc2.weight" in tensor_shapes("text_encoder", models["text_encoder"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="no base at no/such/folder"):
        import_base("no/such/folder", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsNotFoundError, match=r"no model_index\.json"):
        import_base(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vae_is_a_folder_a_part_of_one_or_a_file(
    base: Path, checkpoint: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file({"first_stage_model.x": torch.zeros(1)}, tmp_path / "vae.safetensors")
    assert find_vae(base).files == find_vae(base / "vae").files
    assert find_vae(tmp_path / "vae.safetensors").folder is None
    with pytest.raises(WeightsNotFoundError, match=r"no VAE in .*unet/down"):
        (tmp_path / "unet/down").mkdir(parents=True)
        find_vae(tmp_path / "unet/down")
    with pytest.raises(WeightsError, match="is a UNet2DConditionModel; SDXL needs an AutoencoderKL"):
        find_vae(base / "unet")
    torch.save({}, tmp_path / "vae.pt")
    with pytest.raises(UnsafeWeightsError, match=r"vae\.pt holds pickled"):
        find_vae(tmp_path / "vae.pt")
