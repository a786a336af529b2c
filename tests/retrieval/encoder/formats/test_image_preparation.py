"""How models of transformers prepare images, as their files say it: the size that it becomes, or a true sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retrieval import Encoder, EncoderLoadError, import_encoder
from retrieval.encoder.formats.image_preparation import image_processor
from retrieval.encoder.formats.transformers_config import prepared_size
from tests.retrieval.conftest import speckled
from tests.retrieval.encoder import published

SQUARE = {"height": 32, "width": 32}


def made(folder: Path, kind: str, **settings: Any) -> Any:
    content = {**({"image_processor_type": kind} if kind else {}), **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return image_processor(folder, "mine", content)


@pytest.mark.parametrize(
    ("kind", "settings", "size"),
    [
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224),
        ("ConvNextImageProcessor", {"size": 384}, 384),
        ("ViTImageProcessor", {"size": 32, "do_normalize": False}, 32),
        ("ViTImageProcessor", {"size": SQUARE, "image_mean": [0.5], "image_std": [0.5], "resample": "bicubic"}, 32),
        ("DeiTImageProcessor", {"size": 48, "crop_size": 32, "do_center_crop": True}, 32),
        ("BitImageProcessor", {"size": {"shortest_edge": 48}, "crop_size": SQUARE, "do_center_crop": True}, 32),
        ("BitImageProcessor", {"size": SQUARE, "crop_size": 28, "do_center_crop": False}, 32),
        ("EfficientNetImageProcessor", {"size": SQUARE, "crop_size": 28, "do_center_crop": False}, 32),
        ("BeitImageProcessor", {"size": {"height": 36, "width": 36}, "crop_size": 32, "do_center_crop": True}, 32),
        ("SiglipImageProcessor", {"size": SQUARE, "processor_class": "SiglipProcessor"}, 32),
        ("DPTImageProcessor", {"size": SQUARE, "keep_aspect_ratio": False, "rescale_factor": 1 / 127.5}, 32),
    ],
)
def test_an_image_becomes_the_size_that_is_said(tmp_path: Path, kind: str, settings: Any, size: int) -> None:
    processor = made(tmp_path, kind, **settings)
    for edges in ((64, 64), (200, 50)):
        pixels = processor(images=Image.new("RGB", edges), return_tensors="pt")["pixel_values"][0]
        assert pixels.shape == (3, size, size)
    assert prepared_size(settings) == size


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "ConvNextImageProcessor",
            {"size": SQUARE},
            r"refuses an image: .*Its ConvNext.* is given \"size\": \{'height'",
        ),
        (
            "ConvNextImageProcessor",
            {"size": 224, "crop_pct": None},
            r"refuses an image: .* \"crop_pct\": None: correct",
        ),
        ("ViTImageProcessor", {"size": SQUARE, "image_mean": [0, 0], "image_std": [1, 1]}, "refuses an image"),
        ("ViTImageProcessor", {"size": SQUARE, "image_std": [0, 1, 1]}, r"no numbers\. .*\"image_std\": \[0, 1, 1\]"),
        ("ViTImageProcessor", {"size": "32"}, r"\(preprocessor_config\.json\) could not be loaded: .* size dict: 32"),
        ("ViTImageProcessor", {"do_resize": False}, r"other sizes \(3 × 64 × 64 of .*3 × 64 × 96 of 96 × 64\)"),
        (
            "CLIPImageProcessor",
            {"size": {"shortest_edge": 32}, "do_center_crop": False},
            "other proportions other size",
        ),
        ("DPTImageProcessor", {"size": SQUARE, "keep_aspect_ratio": True}, r"crop them .*height and width"),
        (
            "VideoMAEImageProcessor",
            {"size": {"shortest_edge": 32}, "crop_size": SQUARE},
            "not three channels of pixels",
        ),
        ("MyOwnProcessor", {}, r"loaded: the installed transformers does not know a 'MyOwnProcessor'\.$"),
        ("MyOwnProcessor", {"auto_map": {"AutoImageProcessor": "own.Own"}}, r"code of their own .* by an adapter"),
    ],
)
def test_what_cannot_prepare_images_is_refused_with_its_reason(
    tmp_path: Path, kind: str, settings: Any, message: str
) -> None:
    with pytest.raises(EncoderLoadError, match=rf"^The image preparation of 'mine' .*{message}"):
        made(tmp_path, kind, **settings)


def test_a_size_that_the_model_refuses_is_said_to_be_that(tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    published.phikon(folder)
    published.image_processor(folder, "ViTImageProcessor", 48)
    message = r"'vit' refuses images as its .* \(48\*48\) doesn't match model \(32\*32\)\. Correct the image size there"
    with pytest.raises(EncoderLoadError, match=message):
        import_encoder(folder, tmp_path / "out")
    with pytest.raises(EncoderLoadError, match=message):
        Encoder(folder, device="cpu").encode_images([speckled(0)])


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("std", [0, 1, 1], r"'model' cannot prepare images as its configuration says \(ValueError: std .*zero"),
        ("interpolation", "cubic", r"of 'model' says \(.*'interpolation': 'cubic'.*: KeyError: 'cubic'"),
    ],
)
def test_a_value_that_timm_refuses_is_named(tmp_path: Path, entry: str, value: Any, message: str) -> None:
    published.timm_model(tmp_path / "model", "vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1})
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["pretrained_cfg"][entry] = value
    path.write_text(json.dumps(config))
    with pytest.raises(EncoderLoadError, match=message):
        Encoder(tmp_path / "model", device="cpu").encode_images([speckled(0)])
    with pytest.raises(EncoderLoadError, match=message):
        import_encoder(tmp_path / "model", tmp_path / "out")


def test_a_value_that_open_clip_refuses_is_named(tmp_path: Path, clip_folder: Path) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "model"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "odd"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderLoadError, match=r"refuses a value in .* of its preprocess_cfg, .*'resize_mode': 'odd'"):
        Encoder(folder, device="cpu").encode_images([speckled(0)])


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    published.phikon(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    own = {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    for use in (Encoder, lambda source: import_encoder(source, tmp_path / "out")):
        with pytest.raises(
            EncoderLoadError, match=r"own is a 'own', .* code of their own \(auto_map\), which is not run"
        ):
            use(folder)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_of_open_clip_runs_no_code_though_its_configuration_asks_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    published.biomedclip(folder)
    published.bert_config().save_pretrained(folder / "text_tower")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    path.write_text(json.dumps(config))
    assert Encoder(folder, device="cpu").encode_texts(["benign cells"]).shape == (1, 16)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderLoadError, match=r"tokenizer of 'model' could not be loaded.*custom code"):
        Encoder(folder, device="cpu").encode_texts(["benign cells"])
    assert not (tmp_path / "ran").exists()
