"""The parts of a training: who is held out, how images are cut, what noise weighs, what chance draws, what is kept."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from PIL import Image

from generation import TrainingDataError, TrainingError
from generation.model.pipeline import CoinPipeline
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base
from generation.prompts.prompt import Encoded
from generation.training.checkpoint import require_same_training
from generation.training.data.crops import views
from generation.training.data.holdout import held_out_patients
from generation.training.data.latent_cache import Encodings
from generation.training.data.lora_material import MOST_REPEATS, _balanced
from generation.training.data.pairs import TrainingPair, data_fingerprint
from generation.training.data.step_sampling import items_of_step, sample_step
from generation.training.lora_settings import LoraSettings
from generation.training.model_card import plain, table
from generation.training.noise import NoiseSchedule, squared_error
from generation.training.training_log import TrainingLog
from generation.training.validation import change, choose_spread, validation_timesteps
from tests.training_pairs import phantom_pairs


class TestHoldout:
    def test_patients_stay_held_out_when_others_are_added(self) -> None:
        few = [f"patient {i}" for i in range(40)]
        more = [f"patient {i}" for i in range(400)]
        assert held_out_patients(few) == held_out_patients(more) & set(few)
        assert 50 < len(held_out_patients(more)) < 110

    @pytest.mark.parametrize("count", [2, 3, 4, 5])
    def test_of_few_patients_some_are_held_out_and_some_are_not(self, count: int) -> None:
        for seed in range(20):
            patients = {f"{seed} {i}" for i in range(count)}
            assert 0 < len(held_out_patients(patients, 2)) < count

    def test_one_patient_or_none(self) -> None:
        for patients in ([], ["only"], ["only", "only"]):
            with pytest.raises(TrainingDataError, match="two are needed"):
                held_out_patients(patients)


class TestViews:
    @pytest.mark.parametrize("shape", [(96, 64), (64, 96), (40, 200)])
    def test_a_rectangle_is_cut_whatever_the_image(self, shape: tuple[int, int]) -> None:
        for size in ((200, 100), (100, 200), (30, 30)):
            made = views(Image.new("RGB", size), "0f" * 32, range(6), size=shape, crop="random")
            assert {view.image.size for view in made} == {shape}

    def test_the_model_is_told_the_truth_of_a_crop(self) -> None:
        ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1))).convert("RGB")
        (view,) = views(ramp, "ab" * 32, [0], size=50, turns=False)
        assert view.time_ids == (100, 200, 0, 25, 50, 50)
        assert view.image.size == (50, 50)
        columns = np.asarray(view.image)[25, :, 0].astype(int)
        assert abs(columns[0] - 50) <= 2 and abs(columns[-1] - 149) <= 2, "the middle of the long side"

    def test_turned_views_swap_height_and_width(self) -> None:
        made = list(views(Image.new("RGB", (200, 100)), "0f" * 32, range(12), size=50, crop="random"))
        assert len(made) == 12
        assert {view.original_size for view in made} == {(100, 200), (200, 100)}
        for view in made:
            along = view.corner[1] if view.original_size == (100, 200) else view.corner[0]
            across = view.corner[0] if view.original_size == (100, 200) else view.corner[1]
            assert across == 0 and 0 <= along <= 50
        assert len({view.corner for view in made}) > 6

    def test_the_same_image_is_always_cut_the_same(self) -> None:
        image = phantom_pairs(1)[0].load()
        first, second, other = (
            [view.image.tobytes() for view in views(image, content, range(3), size=32, crop="random")]
            for content in ("1" * 64, "1" * 64, "2" * 64)
        )
        assert first == second and first[0] == other[0] and first[1:] != other[1:]


class TestNoise:
    def config(self, prediction: str) -> dict[str, object]:
        return {
            "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": prediction,
        }  # fmt: skip

    @pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
    def test_noise_and_targets_are_those_of_diffusers(self, prediction: str) -> None:
        config = self.config(prediction)
        schedule, reference = NoiseSchedule(config), DDPMScheduler.from_config(config)
        clean, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        t = torch.tensor([0, 500, 999])
        assert torch.allclose(schedule.noised(clean, noise, t), reference.add_noise(clean, noise, t), atol=1e-6)
        expected = noise if prediction == "epsilon" else reference.get_velocity(clean, noise, t)
        assert torch.allclose(schedule.target(clean, noise, t), expected, atol=1e-6)

    @pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
    def test_min_snr_weighs_an_error_of_the_clean_image(self, prediction: str) -> None:
        """Whatever is predicted: min(SNR, γ) times the error of the clean latents that it implies."""
        schedule = NoiseSchedule(self.config(prediction))
        reference = DDPMScheduler.from_config(self.config(prediction))
        generator = torch.Generator().manual_seed(1)
        clean, noise, slip = (torch.randn(3, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
        t = torch.tensor([10, 400, 950])
        predicted = schedule.target(clean, noise, t) + 0.1 * slip
        noised = schedule.noised(clean, noise, t)
        signal = reference.alphas_cumprod[t].double().view(-1, 1, 1, 1)
        if prediction == "epsilon":
            implied = (noised - (1 - signal).sqrt() * predicted) / signal.sqrt()
        else:
            implied = signal.sqrt() * noised - (1 - signal).sqrt() * predicted
        wanted = compute_snr(reference, t).clamp(max=5) * (implied - clean).square().mean((1, 2, 3))
        error = (predicted - schedule.target(clean, noise, t)).square().mean((1, 2, 3))
        assert torch.allclose(schedule.weight(t, 5.0) * error, wanted, rtol=1e-3)
        assert torch.equal(schedule.weight(t, 0.0), torch.ones(3))

    def test_a_schedule_without_any_signal_at_the_end_has_finite_weights(self) -> None:
        for prediction in ("epsilon", "v_prediction"):
            schedule = NoiseSchedule({**self.config(prediction), "rescale_betas_zero_snr": True})
            assert schedule.weight(torch.tensor([0, 998, 999]), 5.0).isfinite().all()

    def test_a_base_that_predicts_something_else_is_refused(self) -> None:
        with pytest.raises(TrainingDataError, match="predicts 'sample'"):
            NoiseSchedule(self.config("sample"))

    def test_errors_are_means_over_an_image(self) -> None:
        assert squared_error(torch.full((2, 1, 2, 2), 3.0), torch.ones(2, 1, 2, 2)).tolist() == [4.0, 4.0]


class TestDraws:
    def test_every_image_comes_once_before_any_comes_twice(self) -> None:
        taken = np.concatenate([items_of_step(step, items=7, count=3, seed=4) for step in range(7)])
        for start in range(0, 21, 7):
            assert sorted(taken[start : start + 7]) == list(range(7))

    def test_processes_share_the_draw_of_one(self) -> None:
        whole = sample_step(5, items=100, count=8, seed=1, views=4, text_dropout=0.5, timesteps=1000)
        again = sample_step(5, items=100, count=8, seed=1, views=4, text_dropout=0.5, timesteps=1000)
        assert np.array_equal(whole.noise_seeds, again.noise_seeds)
        parts = [whole.part(0, 4), whole.part(4, 8)]
        for name in ("items", "views", "has_text", "timesteps", "noise_seeds"):
            assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))

    def test_text_is_left_out_as_often_as_requested(self) -> None:
        told = np.concatenate([sample_step(s, items=9, count=50, seed=0, text_dropout=0.3).has_text for s in range(40)])
        assert 0.66 < told.mean() < 0.74
        assert sample_step(0, items=9, count=50, seed=0).has_text.all()


def test_rare_categories_are_repeated_in_a_pass_and_unknown_ones_are_not() -> None:
    titles = ["A"] * 40 + ["B"] * 10 + ["C"] + [""] * 2
    pairs = [
        TrainingPair(f"{n:064x}", "p", "r", Image.new, attributes={"category": title} if title else {})
        for n, title in enumerate(titles)
    ]
    taken = Counter(titles[position] for position in _balanced(pairs))
    assert taken == {"A": 40, "B": 40, "C": MOST_REPEATS, "": 2}


class TestEncodings:
    def encodings(self, base: Path, work: Path, **changed: object) -> Encodings:
        return Encodings(work, find_base(base), LoraSettings(**changed))  # type: ignore[arg-type]

    def test_only_what_is_asked_for_is_encoded_and_once(self, base: Path, tmp_path: Path) -> None:
        pairs = phantom_pairs(3)
        first = self.encodings(base, tmp_path)
        first.encode_images([(pairs[0], 2), (pairs[1], 0), (pairs[0], 0), (pairs[0], 2)])
        assert first.failed == {}
        assert [first.has_image(pairs[0], view) for view in range(4)] == [True, False, True, False]
        assert not first.has_image(pairs[2], 0)
        encoded = first.image(pairs[0], 0)
        assert encoded.latents.shape == (4, 16, 16) and encoded.latents.dtype == torch.float16
        assert encoded.time_ids.tolist() == [64, 64, 0, 0, 64, 64]
        assert len(list(tmp_path.rglob("*.safetensors"))) == 1

        def never() -> Image.Image:
            raise AssertionError("it is encoded already")

        again = self.encodings(base, tmp_path)
        again.encode_images([(dataclasses.replace(pair, load=never), 0) for pair in pairs[:2]])
        assert torch.equal(again.image(pairs[0], 2).latents, first.image(pairs[0], 2).latents)
        with pytest.raises(AssertionError):
            self.encodings(base, tmp_path, crop="random").encode_images(
                [(dataclasses.replace(pairs[0], load=never), 0)]
            )

    def test_a_view_is_the_same_whatever_else_is_encoded(self, base: Path, tmp_path: Path) -> None:
        (pair,) = phantom_pairs(1)
        alone, whole = self.encodings(base, tmp_path / "a"), self.encodings(base, tmp_path / "b")
        alone.encode_images([(pair, 3)])
        whole.encode_images([(pair, view) for view in range(4)])
        assert torch.equal(alone.image(pair, 3).latents, whole.image(pair, 3).latents)
        assert not torch.equal(whole.image(pair, 0).latents, whole.image(pair, 3).latents)

    def test_workers_decode_ahead_and_what_is_not_wanted_any_more_is_dropped(self, base: Path, tmp_path: Path) -> None:
        pairs = phantom_pairs(3)
        loaded: list[str] = []

        def load(pair: TrainingPair) -> Image.Image:
            loaded.append(pair.content)
            return pair.load()

        watched = [dataclasses.replace(pair, load=partial(load, pair)) for pair in pairs]
        with ThreadPoolExecutor(1) as pool:
            encodings = Encodings(tmp_path, find_base(base), LoraSettings(), pool=pool)
            encodings.decode_ahead([(pair, 0) for pair in watched])
            encodings.encode_images([(pair, 0) for pair in watched[:2]])
        assert sorted(loaded[:2]) == sorted(pair.content for pair in pairs[:2])
        assert loaded.count(pairs[0].content) == 1, "what was decoded ahead is not decoded again"

    def test_a_damaged_file_is_made_anew_or_named(self, base: Path, tmp_path: Path) -> None:
        (pair,) = phantom_pairs(1)
        encodings = self.encodings(base, tmp_path)
        encodings.encode_images([(pair, 0)])
        before = encodings.image(pair, 0).latents.clone()  # it is mapped
        (file,) = tmp_path.rglob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-4])
        again = self.encodings(base, tmp_path)
        with pytest.raises(TrainingError, match="gone or damaged"):
            again.image(pair, 0)
        again.encode_images([(pair, 0)])
        assert torch.equal(again.image(pair, 0).latents, before)

    def test_reports_are_embedded_as_the_pipeline_does(self, base: Path, tmp_path: Path) -> None:
        found = find_base(base)
        pipeline = CoinPipeline(found, [], PromptTokens(found), device="cpu", dtype=torch.float32)
        encodings = self.encodings(base, tmp_path)
        prompt = "Smear shows clusters."
        encodings.encode_texts([prompt, prompt], pipeline)
        guided, unguided, pooled, _ = pipeline.embed(Encoded.of(prompt))
        assert torch.equal(encodings.text(prompt).tokens, guided[0].half())
        assert torch.equal(encodings.text(prompt).pooled, pooled[0].half())
        assert torch.equal(encodings.dropped_text(len(guided[0])).tokens, unguided[0].half())
        assert not any("clusters" in path.name for path in tmp_path.rglob("*"))

    def test_a_strip_is_no_field(self, base: Path, tmp_path: Path) -> None:
        strip = TrainingPair("a" * 64, "p", "NILM.", lambda: Image.new("RGB", (2000, 10)))
        encodings = self.encodings(base, tmp_path)
        encodings.encode_images([(strip, 0)])
        assert "is a strip" in encodings.failed["a" * 64]


class TestValidation:
    def test_timesteps_are_spread_and_always_the_same(self) -> None:
        taken = [validation_timesteps(image, 1000) for image in range(50)]
        assert taken == [validation_timesteps(image, 1000) for image in range(50)]
        assert all(0 <= t < 1000 for of in taken for t in of)
        quarters = np.bincount(np.ravel(taken) // 250, minlength=4)
        assert quarters.tolist() == [50, 50, 50, 50]

    def test_patients_and_findings_take_turns(self) -> None:
        pairs = [
            TrainingPair(f"{n:064x}", f"patient {n // 10}", "r", Image.new, attributes={"site": "abc"[n // 30]})
            for n in range(90)
        ]
        chosen = choose_spread(pairs, 9)
        assert len({pair.patient for pair in chosen}) == 9
        assert chosen == choose_spread(pairs[::-1], 9)
        assert len(choose_spread(pairs, 1000)) == 90

    def test_a_change_is_reported_with_its_interval(self) -> None:
        patients = [f"p{i // 4}" for i in range(40)]
        before = np.linspace(1, 2, 40).tolist()
        better = change(before, [value - 0.1 for value in before], patients)
        assert (better.low, better.high) == pytest.approx((-0.1, -0.1)) and "fell" in better.words
        noise = np.random.default_rng(0).normal(0, 1, 40)
        unsure = change(before, (np.array(before) + noise - noise.mean()).tolist(), patients)
        assert unsure.low < 0 < unsure.high and "did not change surely" in unsure.words
        alone = change(before, before, ["p"] * 40)
        assert "It is of 1 patient: 6 are needed" in alone.words and math.isinf(alone.high)
        unnamed = change(before, [value - 0.1 for value in before], patients, patients_named=False)
        assert "Patients are not named" in unnamed.words and "fell" not in unnamed.words


def test_a_fingerprint_is_of_the_data_and_not_of_their_order() -> None:
    pairs = phantom_pairs(4)
    assert data_fingerprint(pairs) == data_fingerprint(pairs[::-1])
    assert data_fingerprint(pairs) != data_fingerprint([dataclasses.replace(pairs[0], patient="x"), *pairs[1:]])


def test_a_log_forgets_what_comes_after_the_checkpoint(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, step=0)
    for step in range(5):
        log.add({"step": step, "loss": 1.0 / (step + 1)})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    again = TrainingLog(tmp_path, step=2)
    assert again.curve("loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_what_others_wrote_is_text_in_a_card() -> None:
    hostile = "<img src=x>|\n**bold** `code` [link](x)"
    assert plain(hostile) == "&lt;img src=x&gt;&#124; \\*\\*bold\\*\\* &#96;code&#96; \\[link\\](x)"
    assert table(["a"], [[hostile]]).count("\n") == 2


def test_a_folder_whose_beginning_was_cut_short_is_no_others(tmp_path: Path) -> None:
    (tmp_path / f"training.json.{'0' * 32}.tmp").write_bytes(b"{")
    require_same_training(tmp_path, {"steps": 3}, defaults={})
    require_same_training(tmp_path, {"steps": 3}, defaults={})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / f"thesis.{'0' * 32}.tmp").write_bytes(b"mine")
    with pytest.raises(TrainingError, match="no training's"):
        require_same_training(tmp_path / "other", {"steps": 3}, defaults={})
