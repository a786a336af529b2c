"""The whole way, on a tiny SDXL: real classes, real formats, random weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation import (
    PRESETS,
    BlankImageError,
    CoinGenerator,
    DeviceError,
    EmptyReportError,
    GeneratedImage,
    GenerationCache,
    LoraMismatchError,
    Preset,
    SettingsError,
    WeightsError,
    WeightsNotFoundError,
    read_provenance,
)
from generation.model.lora.find import find_lora
from generation.model.weights import find_base
from tests.full_disk import full_disk

REPORT = "(Ascites) smear shows clustered atypical cells with a morphology consistent with adenocarcinoma cells."
QUICK = Preset("quick", steps=3, guidance=7.5)
LORA_FILE = "pytorch_lora_weights.safetensors"
UNET_FILE = "unet/diffusion_pytorch_model.safetensors"
VAE_FILE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def generator(base: Path, lora: Path) -> CoinGenerator:
    return CoinGenerator(base, lora, device="cpu")


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "copy"))


def pixels(image: GeneratedImage) -> np.ndarray:
    return np.asarray(image.image, dtype=np.int16)


def rename_tensors(source: Path, target: Path, pattern: str, replacement: str) -> None:
    save_file({re.sub(pattern, replacement, name): tensor for name, tensor in load_file(source).items()}, target)


def far_apart(a: GeneratedImage, b: GeneratedImage) -> bool:
    return float(np.abs(pixels(a) - pixels(b)).mean()) > 5


class TestImages:
    def test_a_report_becomes_images_with_their_provenance(self, generator: CoinGenerator, base: Path) -> None:
        generation = generator.generate(REPORT, n=3, seed=40, preset=QUICK)
        assert [image.provenance.seed for image in generation.images] == [40, 41, 42]
        assert generation.report == REPORT
        assert generation.prompt.text == REPORT
        assert generation.seconds > 0
        image = generation.images[0]
        assert (image.image.mode, image.image.size, image.path, image.cached) == ("RGB", (64, 64), None, False)
        provenance = image.provenance
        assert provenance.report_sha256 == hashlib.sha256(REPORT.encode()).hexdigest()
        assert (provenance.preset, provenance.steps, provenance.guidance) == ("quick", 3, 7.5)
        assert provenance.scheduler == "EulerDiscreteScheduler"
        assert (provenance.model, provenance.lora) == ("tiny-base", "tiny-lora")
        assert provenance.model_fingerprint == find_base(base).fingerprint
        assert (provenance.device, provenance.dtype, provenance.synthetic) == ("cpu", "float32", True)
        assert f"torch {torch.__version__}".partition("+")[0] in provenance.software

    def test_a_seed_is_an_image_alone_and_in_any_batch(self, generator: CoinGenerator) -> None:
        alone = generator.generate(REPORT, seeds=[2], preset=QUICK).images[0]
        again = generator.generate(REPORT, seeds=[2], preset=QUICK).images[0]
        assert alone.image.tobytes() == again.image.tobytes()
        for size in (2, 5):
            batched = generator.generate(REPORT, n=5, preset=QUICK, batch_size=size).images[2]
            # Measured: a batch changes the order of float additions, and so single colour values by one level of 255.
            assert np.abs(pixels(batched) - pixels(alone)).max() <= 1

    def test_another_seed_or_report_is_another_image(self, generator: CoinGenerator) -> None:
        first, second = generator.generate(REPORT, n=2, preset=QUICK).images
        other = generator.generate("No intraepithelial lesion (NILM).", n=1, preset=QUICK).images[0]
        assert far_apart(first, second)
        assert not np.array_equal(pixels(first), pixels(other))

    def test_given_seeds_are_generated_in_their_order(self, generator: CoinGenerator) -> None:
        images = generator.generate(REPORT, seeds=[9, 0], preset=QUICK).images
        assert [image.provenance.seed for image in images] == [9, 0]

    @pytest.mark.slow
    def test_presets_differ_and_leave_no_trace(self, generator: CoinGenerator) -> None:
        before = generator.generate(REPORT, n=1, preset="reference").images[0]
        draft = generator.generate(REPORT, n=1, preset="draft").images[0]
        after = generator.generate(REPORT, n=1, preset="reference").images[0]
        assert before.image.tobytes() == after.image.tobytes()
        assert not np.array_equal(pixels(before), pixels(draft))
        assert (draft.provenance.steps, draft.provenance.scheduler) == (20, "DPMSolverMultistepScheduler")
        assert (before.provenance.steps, before.provenance.guidance) == (50, 7.5)

    @pytest.mark.parametrize(
        ("fused", "tolerance", "steps"),
        [
            (True, 0, 4),
            pytest.param(True, 0, 50, marks=pytest.mark.slow),
            pytest.param(False, 8, 50, marks=pytest.mark.slow),
        ],
    )
    def test_it_draws_what_coins_readme_draws(
        self, fused: bool, tolerance: int, steps: int, generator: CoinGenerator, base: Path, lora: Path
    ) -> None:
        """Exactly with fused weights. The README leaves the LoRA beside them: measured, up to 4 of 255 levels."""
        from diffusers import DiffusionPipeline

        published = DiffusionPipeline.from_pretrained(base, use_safetensors=True)
        published.load_lora_weights(str(lora))
        published.set_progress_bar_config(disable=True)
        if fused:
            published.fuse_lora()
        noise = torch.Generator().manual_seed(5)
        expected = published(REPORT, num_inference_steps=steps, guidance_scale=7.5, generator=noise).images[0]
        assert PRESETS["reference"].steps == 50
        preset = dataclasses.replace(PRESETS["reference"], steps=steps)
        ours = generator.generate(REPORT, seeds=[5], preset=preset).images[0]
        assert np.abs(pixels(ours) - np.asarray(expected, dtype=np.int16)).max() <= tolerance

    @pytest.mark.slow
    def test_a_vae_that_normalises_its_latents_is_decoded_as_diffusers_does(self, copy: Path) -> None:
        from diffusers import DiffusionPipeline

        normal = {"latents_mean": [0.3, -0.2, 0.1, 0.0], "latents_std": [0.5, 0.8, 1.1, 1.4]}
        config = json.loads((copy / "vae/config.json").read_text())
        (copy / "vae/config.json").write_text(json.dumps(config | normal))
        published = DiffusionPipeline.from_pretrained(copy, use_safetensors=True)
        published.set_progress_bar_config(disable=True)
        noise = torch.Generator().manual_seed(5)
        expected = published(REPORT, num_inference_steps=3, guidance_scale=7.5, generator=noise).images[0]
        ours = CoinGenerator(copy, device="cpu").generate(REPORT, seeds=[5], preset=QUICK).images[0]
        assert ours.image.tobytes() == expected.tobytes()

    def test_seeds_and_reports_come_as_they_come(self, generator: CoinGenerator) -> None:
        seeds = np.arange(2)
        report = REPORT + b" \xff\xfe".decode(errors="surrogateescape")  # not UTF-8, from a command line
        images = generator.generate(report, seeds=list(seeds), preset=QUICK).images
        assert [type(image.provenance.seed) for image in images] == [int, int]

    def test_the_size_can_be_chosen(self, generator: CoinGenerator) -> None:
        image = generator.generate(REPORT, n=1, preset=QUICK, size=40).images[0]
        assert image.image.size == (image.provenance.width, image.provenance.height) == (40, 40)

    def test_guidance_can_be_off(self, generator: CoinGenerator) -> None:
        assert generator.generate(REPORT, n=2, preset=Preset("plain", steps=2, guidance=1.0)).images[1].image

    @pytest.mark.slow
    def test_half_precision_keeps_the_vae_in_float32(self, base: Path, lora: Path) -> None:
        full = CoinGenerator(base, lora, device="cpu").generate(REPORT, n=1, preset=QUICK).images[0]
        for dtype in ("float16", "bfloat16"):
            half = CoinGenerator(base, lora, device="cpu", dtype=dtype).generate(REPORT, n=1, preset=QUICK).images[0]
            assert half.provenance.dtype == dtype
            assert np.abs(pixels(half) - pixels(full)).mean() < 12

    @pytest.mark.slow
    def test_a_long_report_is_condensed_and_says_what_was_dropped(self, generator: CoinGenerator) -> None:
        report = REPORT + " The smear shows some further cells, many of them without a nucleus." * 300
        prompt = generator.generate(report, n=1, preset=QUICK).prompt
        assert len(report) > 20_000
        assert "adenocarcinoma" in prompt.text
        assert prompt.tokens <= prompt.limit == 77
        assert prompt.dropped

    def test_progress_counts_steps_over_all_batches(self, generator: CoinGenerator) -> None:
        calls: list[tuple[int, int]] = []
        generator.generate(REPORT, n=3, preset=QUICK, batch_size=2, progress=lambda *call: calls.append(call))
        assert calls == [(done, 6) for done in range(7)]

    def test_progress_counts_steps_of_a_second_order_scheduler_once(self, generator: CoinGenerator) -> None:
        calls: list[tuple[int, int]] = []
        heun = Preset("heun", steps=4, guidance=7.5, scheduler="HeunDiscreteScheduler")
        generator.generate(REPORT, n=1, preset=heun, progress=lambda *call: calls.append(call))
        assert calls[-1] == (4, 4)

    def test_an_interrupted_generation_leaves_the_generator_whole(self, generator: CoinGenerator) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        before = generator.generate(REPORT, n=1, preset=QUICK).images[0]
        with pytest.raises(KeyboardInterrupt):
            generator.generate(REPORT, n=1, preset="draft", progress=stop)
        assert generator.generate(REPORT, n=1, preset=QUICK).images[0].image.tobytes() == before.image.tobytes()

    @pytest.mark.slow
    def test_threads_take_turns(self, base: Path, lora: Path, generator: CoinGenerator) -> None:
        reports = [f"{REPORT} Case {letter}." for letter in "abcd"]
        expected = [generator.generate(report, n=2, preset=QUICK).images[1].image.tobytes() for report in reports]
        shared = CoinGenerator(base, lora, device="cpu")
        drawn: dict[str, bytes] = {}

        def draw(report: str) -> None:
            drawn[report] = shared.generate(report, n=2, preset=QUICK).images[1].image.tobytes()

        threads = [threading.Thread(target=draw, args=(report,)) for report in reports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [drawn[report] for report in reports] == expected


class TestCache:
    def test_an_image_is_generated_once_and_then_read(self, base: Path, lora: Path, tmp_path: Path) -> None:
        first = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        drawn = first.generate(REPORT, n=2, preset=QUICK)
        calls: list[tuple[int, int]] = []
        second = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        read = second.generate(REPORT, n=2, preset=QUICK, progress=lambda *call: calls.append(call))
        assert [image.cached for image in drawn.images + read.images] == [False, False, True, True]
        assert calls == []
        for a, b in zip(drawn.images, read.images, strict=True):
            assert (a.provenance, a.image.tobytes(), a.path) == (b.provenance, b.image.tobytes(), b.path)
            assert b.path is not None
            assert read_provenance(b.path) == a.provenance

    @pytest.mark.slow
    def test_only_what_is_missing_is_generated(self, base: Path, lora: Path, tmp_path: Path) -> None:
        generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        generator.generate(REPORT, seeds=[1], preset=QUICK)
        images = generator.generate(REPORT, n=3, preset=QUICK).images
        assert [(image.provenance.seed, image.cached) for image in images] == [(0, False), (1, True), (2, False)]

    @pytest.mark.slow
    def test_every_input_counts(self, base: Path, lora: Path, tmp_path: Path) -> None:
        cache = GenerationCache(tmp_path)
        generator = CoinGenerator(base, lora, device="cpu", cache=cache)
        stronger = Preset("quick", steps=3, guidance=9.0)
        karras = Preset("quick", steps=3, guidance=7.5, scheduler_options={"use_karras_sigmas": True})
        images = [
            generator.generate(REPORT, n=1, preset=QUICK),
            generator.generate(REPORT + " ", n=1, preset=QUICK),  # same prompt, another report
            generator.generate(REPORT, n=1, preset=stronger),
            generator.generate(REPORT, n=1, preset=karras),
            generator.generate(REPORT, n=1, preset=QUICK, size=32),
            CoinGenerator(base, device="cpu", cache=cache).generate(REPORT, n=1, preset=QUICK),
            CoinGenerator(base, lora, device="cpu", dtype="bfloat16", cache=cache).generate(REPORT, n=1, preset=QUICK),
        ]
        assert [generation.images[0].cached for generation in images] == [False] * len(images)
        assert len(list(tmp_path.iterdir())) == len(images)

    @pytest.mark.slow
    def test_a_damaged_entry_is_generated_again(self, base: Path, lora: Path, tmp_path: Path) -> None:
        generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        first = generator.generate(REPORT, n=1, preset=QUICK).images[0]
        assert first.path is not None
        first.path.write_bytes(first.path.read_bytes()[:300])
        second = generator.generate(REPORT, n=1, preset=QUICK).images[0]
        assert not second.cached
        assert second.image.tobytes() == first.image.tobytes()
        assert generator.generate(REPORT, n=1, preset=QUICK).images[0].cached

    def test_a_full_disk_does_not_cost_the_image(
        self, base: Path, lora: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        generator.load()
        with full_disk(), caplog.at_level(logging.WARNING):
            image = generator.generate(REPORT, n=1, preset=QUICK).images[0]
        assert image.path is None
        assert image.image.size == (64, 64)
        assert "was not cached" in caplog.text
        assert "adenocarcinoma" not in caplog.text
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_the_report_is_in_no_file(self, base: Path, lora: Path, tmp_path: Path) -> None:
        report = REPORT + " Received in two tubes." * 40 + " Contact Dr Secret."
        generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
        path = generator.generate(report, n=1, preset=QUICK).images[0].path
        assert path is not None
        with Image.open(path) as image:
            assert "Secret" not in str(image.info)


class TestModels:
    def test_the_lora_changes_what_is_generated(self, base: Path, generator: CoinGenerator) -> None:
        plain = CoinGenerator(base, device="cpu")
        assert (plain.describe()["lora"], plain.describe()["lora_fingerprint"]) == ("", "")
        assert plain.fingerprint != generator.fingerprint
        with_lora = generator.generate(REPORT, n=1, preset=QUICK).images[0]
        assert far_apart(plain.generate(REPORT, n=1, preset=QUICK).images[0], with_lora)

    def test_a_lora_file_is_as_good_as_its_folder(self, base: Path, lora: Path, generator: CoinGenerator) -> None:
        by_file = CoinGenerator(str(base), str(lora / LORA_FILE), device="cpu")
        assert by_file.fingerprint == generator.fingerprint
        image = by_file.generate(REPORT, n=1, preset=QUICK).images[0]
        assert image.image.tobytes() == generator.generate(REPORT, n=1, preset=QUICK).images[0].image.tobytes()

    def test_loading_shows_neither_bars_nor_warnings(
        self, base: Path, lora: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        CoinGenerator(base, lora, device="cpu").generate(REPORT, n=1, preset=QUICK)
        assert capfd.readouterr() == ("", "")

    def test_a_base_of_fp16_files_loads(self, copy: Path, lora: Path) -> None:
        for path in list(copy.glob("*/*.safetensors")):
            path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
        assert CoinGenerator(copy, lora, device="cpu").generate(REPORT, n=1, preset=QUICK).images

    def test_a_base_without_the_first_text_encoder_loads(self, copy: Path) -> None:
        index = json.loads((copy / "model_index.json").read_text())
        for name in ("text_encoder", "tokenizer"):
            index[name] = [None, None]
            shutil.rmtree(copy / name)
        (copy / "model_index.json").write_text(json.dumps(index))
        unet = json.loads((copy / "unet/config.json").read_text()) | {"cross_attention_dim": 16}
        (copy / "unet/config.json").write_text(json.dumps(unet))
        weights = load_file(copy / UNET_FILE)
        for name in list(weights):
            if "attn2.to_k" in name or "attn2.to_v" in name:
                weights[name] = weights[name][:, :16].contiguous()
        save_file(weights, copy / UNET_FILE, metadata={"format": "pt"})
        assert CoinGenerator(copy, device="cpu").generate(REPORT, n=1, preset=QUICK).images

    def test_a_lora_for_another_base_is_refused_and_nothing_is_loaded(self, wider_base: Path, lora: Path) -> None:
        generator = CoinGenerator(wider_base, lora, device="cpu")
        for _ in range(2):  # the second attempt finds no half-loaded model
            with pytest.raises(
                LoraMismatchError,
                match=r"does not fit: 64 of its 96 tensors.*the base's is \d+×\d+.*another base than wider-base",
            ):
                generator.generate(REPORT, n=1, preset=QUICK)

    @pytest.mark.parametrize(
        ("pattern", "replacement", "message"),
        [
            (r"^unet\.mid_block", "unet.no_such_block", r"Only \d+ of \d+ tensors"),
            (r"\.to_", ".no_such_", r"Only \d+ of \d+ tensors"),
            (r"layers|attentions", "nowhere", r"names are those of no layer.*first: \S+\.nowhere\.\S+ \(2×\d+\)"),
            (r"\.weight$", ".matrix", r"holds no LoRA.*first: text_encoder\.\S+\.matrix \(2×\d+\)"),
            (r"lora\.up\.weight$", "oft_blocks", r"32 of 96 tensors .* of a kind that is not known .*oft_blocks"),
            (r"lora\.up\.weight$", "dora_scale", "do not go together"),
        ],
    )
    def test_a_file_whose_tensors_fit_nowhere_is_refused(
        self, pattern: str, replacement: str, message: str, base: Path, lora: Path, tmp_path: Path
    ) -> None:
        rename_tensors(lora / LORA_FILE, tmp_path / LORA_FILE, pattern, replacement)
        with pytest.raises(LoraMismatchError, match=message):
            CoinGenerator(base, tmp_path, device="cpu").load()

    def test_loras_written_by_older_libraries_load(
        self, base: Path, lora: Path, tmp_path: Path, generator: CoinGenerator
    ) -> None:
        """Before transformers 5 the first text encoder's layers were one level deeper."""
        rename_tensors(lora / LORA_FILE, tmp_path / LORA_FILE, r"^text_encoder\.", "text_encoder.text_model.")
        image = CoinGenerator(base, tmp_path, device="cpu").generate(REPORT, n=1, preset=QUICK).images[0]
        assert np.array_equal(pixels(image), pixels(generator.generate(REPORT, n=1, preset=QUICK).images[0]))

    @pytest.mark.slow
    def test_loras_in_kohyas_format_load(self, base: Path, lora: Path, tmp_path: Path) -> None:
        """The other common format: flat names, and an alpha of its own for each pair. Compared on the UNet alone."""
        ours, kohya = {}, {}
        for name, tensor in load_file(lora / LORA_FILE).items():
            if name.startswith("unet."):
                layer, direction = name.removeprefix("unet.").removesuffix(".weight").split(".lora.")
                flat = f"lora_unet_{layer.replace('.', '_')}"
                ours[name] = kohya[f"{flat}.lora_{direction}.weight"] = tensor
                kohya[f"{flat}.alpha"] = torch.tensor(2.0)  # the rank: no further scaling
        save_file(ours, tmp_path / "ours.safetensors")
        save_file(kohya, tmp_path / "kohya.safetensors")
        first, second = (
            CoinGenerator(base, tmp_path / name, device="cpu").generate(REPORT, n=1, preset=QUICK).images[0]
            for name in ("ours.safetensors", "kohya.safetensors")
        )
        assert np.array_equal(pixels(first), pixels(second))

    def test_weights_of_another_shape_than_their_config_are_refused(self, copy: Path, wider_base: Path) -> None:
        shutil.copy(wider_base / UNET_FILE, copy / UNET_FILE)
        with pytest.raises(WeightsError, match=r"The base copy does not load .*Copy or download it anew"):
            CoinGenerator(copy, device="cpu").load()

    @pytest.mark.parametrize(("value", "message"), [(float("nan"), "not-a-number"), (0.0, "of one colour")])
    def test_a_blank_image_is_an_error(self, value: float, message: str, copy: Path) -> None:
        weights = load_file(copy / VAE_FILE)
        for name in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
            weights[name] = torch.full_like(weights[name], value)
        save_file(weights, copy / VAE_FILE, metadata={"format": "pt"})
        with pytest.raises(BlankImageError, match=f"seed 3 is {message}"):
            CoinGenerator(copy, device="cpu").generate(REPORT, seeds=[3], preset=QUICK)

    def test_nothing_is_read_before_first_use(self) -> None:
        generator = CoinGenerator("no/such/folder/anywhere", device="cuda-of-tomorrow")
        assert not generator.is_starter
        with pytest.raises(WeightsNotFoundError):
            generator.load()

    def test_without_a_base_it_is_the_starter(self) -> None:
        assert CoinGenerator().is_starter


class TestBadInput:
    @pytest.mark.parametrize("report", ["", " \n "])
    def test_an_empty_report(self, report: str, generator: CoinGenerator) -> None:
        with pytest.raises(EmptyReportError):
            generator.generate(report)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"n": 0}, "0 images"),
            ({"seeds": []}, "list of seeds is empty"),
            ({"seed": -1}, "whole number from 0"),
            ({"seeds": [2**63]}, "whole number from 0"),
            ({"batch_size": 0}, "batch size is 0"),
            ({"preset": "best"}, "Unknown preset 'best'"),
            ({"size": 33}, "image size is 33: .* multiple of 8"),
            ({"size": 0}, "image size is 0"),
        ],
    )
    def test_settings_out_of_range(self, settings: dict[str, int], message: str, generator: CoinGenerator) -> None:
        with pytest.raises(SettingsError, match=message):
            generator.generate(REPORT, **settings)  # type: ignore[arg-type]

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
    def test_cuda_where_there_is_none(self, base: Path) -> None:
        with pytest.raises(DeviceError, match="'cuda' was requested"):
            CoinGenerator(base, device="cuda").generate(REPORT)

    def test_weights_that_are_not_there(self, base: Path, tmp_path: Path) -> None:
        with pytest.raises(WeightsNotFoundError, match="no base at"):
            CoinGenerator(tmp_path / "gone").generate(REPORT)
        with pytest.raises(WeightsNotFoundError, match="no LoRA at"):
            CoinGenerator(base, tmp_path / "gone").generate(REPORT)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_draws_the_same_picture(base: Path, lora: Path, generator: CoinGenerator) -> None:
    """In float32 up to what its convolutions round (10 bits, as float16, which is 1.3 away on a CPU); in half precision
    up to bfloat16's 7 bits, which random weights magnify (8.5 on a CPU, above 12 on an H200; another seed: 40)."""
    on_cpu = pixels(generator.generate(REPORT, n=1, preset=QUICK).images[0])
    for dtype, at_most in (("float32", 4), ("auto", 20)):
        on_gpu = CoinGenerator(base, lora, device="cuda", dtype=dtype).generate(REPORT, n=1, preset=QUICK).images[0]
        assert on_gpu.provenance.device == "cuda"
        assert np.abs(pixels(on_gpu) - on_cpu).mean() < at_most


def test_a_lora_keeps_its_own_name_in_what_is_described(lora: Path, generator: CoinGenerator) -> None:
    described = generator.describe()
    assert described["lora_fingerprint"] == find_lora(lora).fingerprint
    assert (described["base"], described["device"], described["dtype"]) == ("tiny-base", "cpu", "float32")
