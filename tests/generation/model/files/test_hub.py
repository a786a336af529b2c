"""What is fetched from the hub, and what is found in its cache without a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from safetensors.torch import save_file

from generation import CoinGenerator, UnsafeWeightsError, WeightsError, WeightsNotFoundError, import_base
from generation.model.lora.find import find_lora
from generation.model.weights import find_base, find_vae
from tests.single_file import single_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LORA_FILE = "pytorch_lora_weights.safetensors"


class Hub:
    """A hub of one repository: the files in `folder`, of which the wanted ones are copied to the cache."""

    def __init__(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache = folder, cache
        self.fetched: list[str] = []
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda _api, _name: self.info())
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)

    def info(self) -> SimpleNamespace:
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        return SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=name) for name in sorted(names)])

    def download(self, _name: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert revision == COMMIT
        target = self.cache / "snapshots" / COMMIT
        for name in allow_patterns:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / name, target / name)
        self.fetched = sorted(allow_patterns)
        return str(target)


@pytest.fixture
def repository(base: Path, tmp_path: Path) -> Path:
    """A base as many are published: full and fp16 files, pickles beside them, pictures, a single file."""
    folder = Path(shutil.copytree(base, tmp_path / "repository"))
    for path in list(folder.glob("*/*.safetensors")):
        if path.parent.name != "vae":
            shutil.copy(path, path.with_name(f"{path.stem}.fp16.safetensors"))
        path.with_suffix(".bin").touch()
    for name in ("README.md", "picture.png", "sd_xl_base_1.0.safetensors", "unet/model.onnx"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("half", [False, True])
def test_one_set_of_weights_is_fetched(
    half: bool, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(repository, tmp_path / "cache", monkeypatch)
    found = find_base("org/name", half=half)
    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    variant = ".fp16" if half else ""
    assert weights == [
        f"text_encoder/model{variant}.safetensors",
        f"text_encoder_2/model{variant}.safetensors",
        f"unet/diffusion_pytorch_model{variant}.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert not {name for name in hub.fetched if name.endswith((".bin", ".png", ".onnx", ".md"))}
    assert (found.name, found.variants["unet"]) == ("org/name", "fp16" if half else None)


@pytest.mark.parametrize(("device", "half"), [("cpu", False), ("cuda", True)])
def test_a_gpu_takes_the_fp16_files(
    device: str, half: bool, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(repository, tmp_path / "cache", monkeypatch)
    monkeypatch.setattr("generation.generator.choose_device", lambda _device: device)
    monkeypatch.setattr("generation.generator.choose_dtype", lambda *_: "torch.float32")
    assert CoinGenerator("org/name").describe()["base_fingerprint"] == find_base("org/name", half=half).fingerprint
    assert (find_base("org/name", half=True).fingerprint == find_base("org/name").fingerprint) is False
    local = CoinGenerator(repository).describe()["base_fingerprint"]
    assert local == find_base(repository).fingerprint == find_base(repository, half=True).fingerprint


def test_a_repository_of_pickles_names_the_import(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in repository.glob("text_encoder/*.safetensors"):
        path.unlink()
    hub = Hub(repository, tmp_path / "cache", monkeypatch)
    with pytest.raises(
        UnsafeWeightsError, match=r"text_encoder/model\.bin holds pickled.*coin base import org/name OUT"
    ):
        find_base("org/name")
    assert hub.fetched == []


def test_a_lora_in_a_folder_or_a_file_of_a_repository(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    for name in ("checkpoint-1", "checkpoint-2"):
        shutil.copytree(lora, folder / name)
    (folder / "checkpoint-1" / "adapter_config.json").write_text("{}")
    (folder / "other").mkdir()
    (folder / "other" / "pytorch_lora_weights.bin").touch()
    hub = Hub(folder, tmp_path / "cache", monkeypatch)
    assert find_lora("org/name/checkpoint-1").fingerprint == find_lora(lora).fingerprint
    assert hub.fetched == [f"checkpoint-1/{name}" for name in ("adapter_config.json", LORA_FILE)]
    assert find_lora(f"org/name/checkpoint-2/{LORA_FILE}").path.parent.name == "checkpoint-2"
    with pytest.raises(WeightsError, match=r"several LoRAs .*checkpoint-1, checkpoint-2"):
        find_lora("org/name")
    with pytest.raises(UnsafeWeightsError, match=r"org/name/other/pytorch_lora_weights\.bin.*coin lora import"):
        find_lora("org/name/other")
    with pytest.raises(WeightsNotFoundError, match="repository org/name has no nothing"):
        find_lora("org/name/nothing")


def cached(cache: Path, name: str, source: Path) -> Path:
    """A repository's newest commit in the hub's own cache; its folder."""
    place = cache / f"models--org--{name}"
    shutil.copytree(source, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return place / "snapshots" / COMMIT


def test_what_is_in_the_cache_is_found_offline(
    base: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the hub's own layout of its cache, which today's users have."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name, source in (("base", base), ("vae", base / "vae"), ("lora", lora)):
        cached(tmp_path, name, source)
    for half in (False, True):
        assert find_base("org/base", half=half).fingerprint == find_base(base).fingerprint
    assert find_lora("org/lora").fingerprint == find_lora(lora).fingerprint
    assert find_vae("org/vae").fingerprint == find_vae(base).fingerprint
    assert find_vae("org/vae").name == "org/vae"


def test_which_files_of_the_cache_are_taken_and_what_is_missing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages name the repository, not the cache's folders, and a command that works as it stands."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    unet = "unet/diffusion_pytorch_model"
    for name in ("fp16", "part", "pickled"):
        folder = cached(tmp_path, name, base)
        for path in list(folder.glob("*/*.safetensors")):
            path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    for half in (False, True):
        assert set(find_base("org/fp16", half=half).variants.values()) == {"fp16"}
    (tmp_path / "models--org--part" / "snapshots" / COMMIT / f"{unet}.fp16.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"weights in org/part/unet\..*hold only a part: connect to the hub"):
        find_base("org/part")
    pickled = tmp_path / "models--org--pickled" / "snapshots" / COMMIT
    (pickled / f"{unet}.fp16.safetensors").rename(pickled / f"{unet}.bin")
    with pytest.raises(
        UnsafeWeightsError, match=rf"^org/pickled/{unet}\.bin holds .*: coin base import org/pickled OUT$"
    ):
        find_base("org/pickled")
    with pytest.raises(UnsafeWeightsError, match=r"Ask for a \.safetensors file\.$"):
        find_vae(pickled / f"{unet}.bin")


@pytest.mark.slow
def test_a_single_file_of_a_repository_is_named_and_imported(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    save_file(single_file(base), folder / "sdxl.safetensors")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    command = r"no model_index\.json\. Where sdxl\.safetensors is .*: coin base import org/name/sdxl\.safetensors OUT$"
    with monkeypatch.context() as online:
        hub = Hub(folder, tmp_path / "cache", online)
        for find in (find_base, lambda name: import_base(name, tmp_path / "out")):
            with pytest.raises(WeightsNotFoundError, match=command):
                find("org/name")
        with pytest.raises(WeightsNotFoundError, match=r"of the hub is brought in once: coin base import org/name/s"):
            find_base("org/name/sdxl.safetensors")
        with pytest.raises(WeightsNotFoundError, match=r"repository org/name has no file other\.safetensors"):
            import_base("org/name/other.safetensors", tmp_path / "out")
        made = import_base("org/name/sdxl.safetensors", tmp_path / "online", layout=base)
        assert hub.fetched == ["README.md", "sdxl.safetensors"]
    assert (made.source, made.revision, made.licence) == ("org/name/sdxl.safetensors", COMMIT, "mit")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached(tmp_path, "name", folder)
    with pytest.raises(WeightsNotFoundError, match=command):
        find_base("org/name")
    import_base("org/name/sdxl.safetensors", tmp_path / "offline", layout=base)
    assert find_base(tmp_path / "offline").fingerprint == find_base(tmp_path / "online").fingerprint
