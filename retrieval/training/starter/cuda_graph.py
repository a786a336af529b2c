"""One step of a training, recorded on a GPU and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WARM_UP = 4


class Recorded:
    """A function of nothing, called again and again, whose work is always the same. On a CPU it just runs. On a GPU it
    is recorded after some calls, as a CUDA graph, and replayed from then on: a small model's step is some thousand
    kernels, which take longer to launch one by one than to run (https://pytorch.org/docs/stable/notes/cuda.html,
    "CUDA Graphs").

    So the function may not wait for the GPU, and what changes from call to call must lie in tensors that stay where
    they are. `generators` are those that it draws from, beside torch's own.
    """

    def __init__(self, function: Callable[[], None], device: str, *generators: torch.Generator) -> None:
        self._function, self._generators, self._calls = function, generators, 0
        self._on_gpu = device.startswith("cuda")
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        import torch

        self._calls += 1
        if self._graph is not None:
            self._graph.replay()
        elif not self._on_gpu:
            self._function()
        elif self._calls <= WARM_UP:
            self._aside(self._function)
        else:
            self._graph = torch.cuda.CUDAGraph()
            for generator in self._generators:
                self._graph.register_generator_state(generator)
            with torch.cuda.graph(self._graph):
                self._function()
            self._graph.replay()  # recording ran nothing

    def _aside(self, function: Callable[[], None]) -> None:
        """On a stream of its own, as recording asks of what runs before it."""
        import torch

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream().wait_stream(stream)


def side_by_side(trainings: Sequence[Iterator[None]], device: str) -> None:
    """Run several trainings to their ends, a step of each in turn. On a GPU each has its own stream, so that what one
    leaves idle the others take."""
    import torch

    on_gpu = device.startswith("cuda")
    running = [(training, torch.cuda.Stream() if on_gpu else None) for training in trainings]
    while running:
        for training, stream in list(running):
            with torch.cuda.stream(stream):  # of None: where we are
                if next(training, running) is running:
                    running.remove((training, stream))
