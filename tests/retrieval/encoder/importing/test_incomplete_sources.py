"""Sources of an import that are of a newer layout, of a training, or not whole: read, or refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from retrieval import Encoder, EncoderLoadError, import_encoder
from retrieval.encoder.formats.files import TOKENIZER_FILES
from retrieval.encoder.model_files import find_encoder
from tests.pickled_here import pickled_here
from tests.retrieval.conftest import speckled
from tests.retrieval.encoder import published

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def uni(folder: Path) -> None:
    published.timm_model(folder, "vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1})


def with_bert(folder: Path) -> None:
    published.biomedclip(folder)
    published.bert_config().save_pretrained(folder / "text_tower")


def change(path: Path, part: str, changed: dict[str, int]) -> None:
    """Change entries of a JSON file, or of the part of it that dots lead to."""
    config = json.loads(path.read_text())
    inner = config
    for key in filter(None, part.split(".")):
        inner = inner[key]
    inner.update(changed)
    path.write_text(json.dumps(config))


@pytest.fixture(scope="module", autouse=True)
def quick_pickles() -> Iterator[None]:
    with pickled_here():
        yield


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_one_processor_file_of_newer_transformers_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "plip"
    published.plip(folder)
    before = Encoder(folder, device="cpu")
    vectors = before.encode_images([speckled(0)])
    images = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    for content, message in (
        ({}, r"nor a processor_config\.json that prepares images"),
        ({"image_processor": "no"}, r"nor a processor_config\.json that prepares images"),
    ):
        (folder / "processor_config.json").write_text(json.dumps(content))
        with pytest.raises(EncoderLoadError, match=message):
            find_encoder(folder)
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": {"image_processor_type": "Nothing"}}))
    with pytest.raises(EncoderLoadError, match=r"\(processor_config\.json\) could not be loaded"):
        Encoder(folder, device="cpu").encode_images([speckled(0)])
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": images}))
    imported = import_encoder(folder, tmp_path / "out")
    assert imported.files.fingerprint == before.fingerprint
    assert np.allclose(Encoder(tmp_path / "out", device="cpu").encode_images([speckled(0)]), vectors, atol=1e-6)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "dino"
    published.dinov2(folder)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    message = rf"dino/{name} is a Git LFS pointer and not the file itself: run `git lfs pull`"
    with pytest.raises(Exception, match=message):
        import_encoder(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pickled", [False, True])
def test_a_part_of_the_weights_that_is_missing_is_named(tmp_path: Path, pickled: bool) -> None:
    folder = tmp_path / "dino"
    published.dinov2(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    write = torch.save if pickled else save_file
    for part in (1, 3):
        names = sorted(tensors)[part - 1 :: 3]
        write({name: tensors[name] for name in names}, folder / f"{stem}-{part:05}-of-00003.{suffix}")
    with pytest.raises(
        EncoderLoadError, match=rf"some of its parts of weights: {stem}-00002-of-00003\.{suffix} is miss"
    ):
        import_encoder(folder, tmp_path / "out")
    names = sorted(tensors)[1::3]
    write({name: tensors[name] for name in names}, folder / f"{stem}-00002-of-00003.{suffix}")
    assert import_encoder(folder, tmp_path / "out").files.reads_images
    assert find_encoder(tmp_path / "out").reads_images


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\x00 garbage", "is no JSON file that can be read"),
        ("[" * 100_000, "is no JSON file that can be read"),
        ("[1, 2]", "is no configuration of a text model of transformers: it has no model_type"),
        ('{"model_type": "bert"}', "it has no vocab_size and no hidden_size"),
        (
            '{"model_type": "nonsense", "vocab_size": 3, "hidden_size": 4}',
            "that the installed transformers does not know",
        ),
        ('{"model_type": "bert", "vocab_size": "x", "hidden_size": "y"}', "does not know, or cannot make of it"),
        ('{"model_type": "gpt2", "vocab_size": 11, "hidden_size": 32}', "it may be of another model"),
    ],
)
def test_a_text_configuration_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    published.biomedclip(tmp_path / "bio")
    given = tmp_path / "given.json"
    given.write_text(content)
    with pytest.raises(EncoderLoadError, match=message) as refused:
        import_encoder(tmp_path / "bio", tmp_path / "out", text_config=given)
    assert str(given) in str(refused.value)
    assert ".out" not in str(refused.value)  # the folder that is made first


def test_heads_that_no_tensor_shows_are_asked_for(tmp_path: Path) -> None:
    published.biomedclip(tmp_path / "bio")
    with pytest.raises(EncoderLoadError, match=r"attention heads stands in no tensor.* Give it with --text-config"):
        import_encoder(tmp_path / "bio", tmp_path / "out")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a training run of open_clip, with three states."""
    (tmp_path / "archs").mkdir()
    (tmp_path / "archs" / "Tiny-of-a-run.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "archs")
    network = open_clip.create_model("Tiny-of-a-run")
    folder = tmp_path / "logs" / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for epoch in (1, 3, 10):
        state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"epoch": epoch, "state_dict": state}, folder / "checkpoints" / f"epoch_{epoch}.pt")
    (folder / "params.txt").write_text(
        "model: Tiny-of-a-run\nimage_mean: (0.1, 0.2, 0.3)\nimage_std: None\nname: run\n"
    )
    return folder


def test_the_folder_of_a_training_run_gives_its_last_state(run: Path, tmp_path: Path) -> None:
    done = import_encoder(run, tmp_path / "out")
    assert done.notes[0] == "The architecture (Tiny-of-a-run) is that of the training run's params.txt."
    config = json.loads((tmp_path / "out" / "open_clip_config.json").read_text())
    assert config["preprocess_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert config["preprocess_cfg"]["std"] == list(open_clip.OPENAI_DATASET_STD)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "epoch_10.pt" in card
    assert import_encoder(run / "checkpoints" / "epoch_10.pt", tmp_path / "file").files.fingerprint == (
        done.files.fingerprint
    )


def test_what_a_training_lacks_is_reported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        EncoderLoadError, match=r"states of a training \(epoch_10\.pt\).* coin encoder import .*run OUT"
    ):
        find_encoder(run)
    with pytest.raises(EncoderLoadError, match=r"For example: coin encoder import .*epoch_10\.pt OUT"):
        import_encoder(run.parent, tmp_path / "out")
    (run / "params.txt").write_text("model: Nonsense-99\n")
    with pytest.raises(EncoderLoadError, match=r"Nonsense-99 is that of the run's params\.txt; --arch names another"):
        import_encoder(run, tmp_path / "out")
    (run / "params.txt").unlink()
    with pytest.raises(EncoderLoadError, match="its architecture with --arch"):
        import_encoder(run, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "is a text and no weights"),
        (b"PK\x03\x04\x00\x00\x08\x08" + bytes(40), "is a pickled file, though its name ends with"),
        ((99).to_bytes(8, "little") + b"{}", "is not a whole safetensors file"),
    ],
)
def test_a_single_file_that_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(EncoderLoadError, match=rf"a\.safetensors {message}"):
        import_encoder(tmp_path / "a.safetensors", tmp_path / "out", arch="timm:vit_tiny_patch16_224")


def test_weights_that_are_no_numbers_name_the_source(tmp_path: Path) -> None:
    published.dinov2(tmp_path / "dino")
    weights = tmp_path / "dino" / "model.safetensors"
    tensors = {name: tensor * torch.nan for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(EncoderLoadError, match=r"The encoder 'dino' gave no usable vector"):
        import_encoder(tmp_path / "dino", tmp_path / "out")


def test_a_repository_that_the_cache_holds_in_part_is_named_by_its_id(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--org--name"
    published.dinov2(place / "snapshots" / commit)
    (place / "snapshots" / commit / "preprocessor_config.json").unlink()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    with pytest.raises(EncoderLoadError, match=r"^org/name holds no preprocessor_config\.json"):
        find_encoder("hf-hub:org/name")


def test_what_is_loaded_is_what_the_fingerprint_is_of(tmp_path: Path) -> None:
    """An index and an adapter beside the weights name other files, outside the folder, too."""
    published.dinov2(tmp_path / "dino")
    published_one = Encoder(tmp_path / "dino", device="cpu")
    wanted = published_one.encode_images([speckled(1)])
    tensors = load_file(tmp_path / "dino" / "model.safetensors")
    (tmp_path / "dino" / "model.safetensors").rename(tmp_path / "dino" / "model-00001-of-00001.safetensors")
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    save_file(other, tmp_path / "other.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "../other.safetensors")}
    (tmp_path / "dino" / "model.safetensors.index.json").write_text(json.dumps(index))
    adapter = {"peft_type": "LORA", "r": 1, "target_modules": ["query"], "base_model_name_or_path": "elsewhere"}
    (tmp_path / "dino" / "adapter_config.json").write_text(json.dumps(adapter))
    found = Encoder(tmp_path / "dino", device="cpu")
    assert found.fingerprint == published_one.fingerprint
    np.testing.assert_array_equal(found.encode_images([speckled(1)]), wanted)


def test_without_its_tokenizer_a_model_of_both_reads_images_only(tmp_path: Path) -> None:
    published.plip(tmp_path / "plip")
    for name in TOKENIZER_FILES:
        (tmp_path / "plip" / name).unlink(missing_ok=True)
    assert not find_encoder(tmp_path / "plip").reads_texts
    done = import_encoder(tmp_path / "plip", tmp_path / "out")
    assert (done.files.reads_images, done.files.reads_texts) == (True, False)
    assert "has a text tower and no tokenizer files" in done.notes[0]


def test_a_tokenizer_that_does_not_load_is_damage(tmp_path: Path) -> None:
    published.plip(tmp_path / "plip")
    (tmp_path / "plip" / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderLoadError, match=r"^The tokenizer of 'plip' could not be loaded.* Fetch its files anew"):
        import_encoder(tmp_path / "plip", tmp_path / "out")


def test_a_tokenizer_of_another_model_is_named(tmp_path: Path) -> None:
    published.minilm(tmp_path / "words")
    (tmp_path / "words" / "vocab.txt").write_text("\n".join([f"word{n}" for n in range(50)] + published.WORDS))
    for path in (tmp_path / "words").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(EncoderLoadError, match=r"'words' cannot encode texts: .* may be another model's: fetch both"):
        import_encoder(tmp_path / "words", tmp_path / "out")


def test_a_length_of_vectors_that_is_not_the_configurations_is_named(tmp_path: Path) -> None:
    published.timm_model(tmp_path / "uni", "vit_tiny_patch16_224", {"img_size": 32})
    config = json.loads((tmp_path / "uni" / "config.json").read_text())
    (tmp_path / "uni" / "config.json").write_text(json.dumps({**config, "num_features": 1024}))
    with pytest.raises(EncoderLoadError, match="'uni' makes vectors of 192 numbers, and its configuration says 1024"):
        import_encoder(tmp_path / "uni", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"model_type":' + "[" * 100_000, r"config\.json could not be read as JSON"),
        ("preprocessor_config.json", '{"size": {"height": 1000000, "width": 1000000}}', "at 1000000 pixels; 1 to 4096"),
        ("preprocessor_config.json", '{"size": {"height": 0, "width": 0}}', "at 0 pixels; 1 to 4096"),
    ],
)
def test_a_configuration_that_was_made_to_exhaust_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    published.dinov2(tmp_path / "dino")
    (tmp_path / "dino" / name).write_text(content)
    with pytest.raises(EncoderLoadError, match=message):
        find_encoder(tmp_path / "dino")


@pytest.mark.parametrize(
    ("make", "name", "part", "changed"),
    [
        (published.dinov2, "config.json", "", {"hidden_size": 10**6}),
        (published.dinov2, "config.json", "", {"num_hidden_layers": 10**5}),
        (published.plip, "config.json", "text_config", {"vocab_size": 10**9}),
        (uni, "config.json", "model_args", {"embed_dim": 999_999}),
        (with_bert, "open_clip_config.json", "model_cfg", {"embed_dim": 10**7}),
        (with_bert, "text_tower/config.json", "", {"hidden_size": 10**6}),
    ],
)
@pytest.mark.slow
def test_a_network_far_larger_than_its_weights_is_refused_before_it_takes_memory(
    tmp_path: Path, make: Callable[[Path], Any], name: str, part: str, changed: dict[str, int]
) -> None:
    make(tmp_path / "model")
    change(tmp_path / "model" / name, part, changed)
    with pytest.raises(EncoderLoadError, match=r"configuration in .*model describes a network far larger than the"):
        Encoder(tmp_path / "model", device="cpu").load()


@pytest.mark.slow
def test_a_context_that_the_text_tower_does_not_have_is_refused(tmp_path: Path) -> None:
    """Every text would be padded to it: of 10⁹ tokens memory would not suffice."""
    with_bert(tmp_path / "model")
    change(tmp_path / "model" / "open_clip_config.json", "model_cfg.text_cfg", {"context_length": 10**9})
    with pytest.raises(EncoderLoadError, match="context_length of 1000000000 tokens, and its text tower reads 512"):
        Encoder(tmp_path / "model", device="cpu").load()
