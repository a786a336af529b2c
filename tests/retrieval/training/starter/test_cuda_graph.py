"""A step that is recorded on a GPU and replayed, and trainings that run side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from retrieval.training.starter.cuda_graph import WARM_UP, Recorded, side_by_side


def test_on_a_cpu_a_step_just_runs() -> None:
    calls: list[int] = []
    step = Recorded(lambda: calls.append(len(calls)), "cpu")
    for _ in range(WARM_UP + 3):
        step()
    assert calls == list(range(WARM_UP + 3))


def test_trainings_take_turns_until_each_is_done() -> None:
    taken: list[str] = []

    def training(name: str, steps: int) -> Iterator[None]:
        for _ in range(steps):
            taken.append(name)
            yield

    side_by_side([training("a", 3), training("b", 1), training("c", 2), training("none", 0)], "cpu")
    assert "".join(taken) == "abcaca"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_it_is_replayed_and_draws_and_learns_anew_every_time() -> None:
    def training(seed: int, recorded: bool, out: list[list[float]]) -> Iterator[None]:
        generator = torch.Generator("cuda").manual_seed(seed)
        torch.manual_seed(seed)
        model, rate = torch.nn.Linear(8, 8).cuda(), torch.tensor(0.01, device="cuda")
        optimiser = torch.optim.AdamW(model.parameters(), rate, fused=True, capturable=True)
        loss = torch.zeros((), device="cuda")
        ran: list[int] = []

        def learn() -> None:
            ran.append(1)
            seen = torch.rand(16, 8, device="cuda", generator=generator)
            error = (model(seen) - seen).square().mean()
            optimiser.zero_grad(set_to_none=True)
            error.backward()
            optimiser.step()
            loss.copy_(error.detach())

        step = Recorded(learn, "cuda", generator) if recorded else learn
        losses: list[float] = []
        for number in range(40):
            rate.fill_(0.01 if number < 30 else 0.0)
            step()
            losses.append(loss.item())
            yield
        assert len(ran) == (WARM_UP + 1 if recorded else 40)
        out.append(losses)

    plain: list[list[float]] = []
    replayed: list[list[float]] = []
    for seed in (1, 2):
        side_by_side([training(seed, False, plain)], "cuda")
    side_by_side([training(seed, True, replayed) for seed in (1, 2)], "cuda")
    for one, other in zip(plain, replayed, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
        assert len(set(other)) == 40 and other[29] < other[0]
