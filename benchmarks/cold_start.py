"""Where the time of a first search goes, from the start of the process: processor seconds by part.

    python -m benchmarks.cold_start [--repetitions 3]

A small archive of phantoms is searched with the starter, by an image and by a report, each time by a new process on one
thread. Once the model libraries are imported as `coin` imports them, and once as they import themselves. The least of
the repetitions counts: neighbours make a run slower, never faster. Compiled Python is kept, as an installation has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from benchmarks.machine import describe_machine
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms

REPOSITORY: Final = Path(__file__).parents[1]
CHILD: Final = """
import contextlib, importlib, io, json, sys, time
parts, arguments, whole = [], json.loads(sys.argv[1]), sys.argv[2] == "whole"
def part(name):
    parts.append((name, time.process_time()))
part("Python")
import ui.cli
part("commands")
import torch
part("torch")
from generation import quick_import
load = importlib.import_module if whole else quick_import
load("timm")
part("timm, torchvision")
if whole:
    load("open_clip")
else:
    quick_import("open_clip", without=("transformers",))
part("open_clip")
if "--text" in arguments:
    load("diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl")
    part("diffusers, transformers")
import sqlalchemy.orm, index_store.archive
part("SQLAlchemy")
import faiss, scipy.sparse, scipy.special
part("FAISS, SciPy")
with contextlib.redirect_stdout(io.StringIO()):
    ui.cli.cli(arguments, standalone_mode=False)
part("models and search")
print(json.dumps(parts))
"""


def spent(arguments: list[str], *, whole: bool, cache: Path, repetitions: int) -> dict[str, float]:
    """Processor seconds of a new process by part, of the repetition that took least.

    Args:
        whole: import the model libraries as they import themselves.
        cache: for generated images; a new one for every process.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    best: dict[str, float] = {}
    for number in range(repetitions):
        run = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(arguments), "whole" if whole else "quick"],
            cwd=REPOSITORY,
            env={**environment, "COIN_CACHE": str(cache / f"{whole}-{number}")},
            capture_output=True,
            text=True,
            check=True,
        )
        ends = json.loads(run.stdout)
        starts = [0.0, *(end for _, end in ends)]
        found = {name: end - start for (name, end), start in zip(ends, starts, strict=False)}
        if not best or sum(found.values()) < sum(best.values()):
            best = found
    return best


def show(title: str, quick: dict[str, float], whole: dict[str, float]) -> None:
    """One table: parts, seconds with the libraries as `coin` imports them, and as they import themselves."""
    print(f"\n{title}: processor seconds, as coin imports the libraries / as they import themselves")
    for name, seconds in quick.items():
        print(f"  {name:26}{seconds:6.2f}  /{whole[name]:6.2f}")
    both = sum(quick.values()), sum(whole.values())
    print(f"  {'in all':26}{both[0]:6.2f}  /{both[1]:6.2f}   ratio {both[0] / both[1]:.2f}")


@click.command(help=__doc__)
@click.option("--repetitions", default=3, show_default=True)
@click.option("--cases", default=88, show_default=True, help="Phantoms in the archive.")
@click.option("--images", default=4, show_default=True, help="Images generated from the report.")
def main(repetitions: int, cases: int, images: int) -> None:
    """Build the archive, time the searches, print the tables."""
    from index_store import Archive
    from retrieval import Encoder, add_manifest

    print(describe_machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = write_phantoms(folder / "phantoms", phantom_cases(cases))
        with Archive.create(folder / "archive", name="phantoms") as archive:
            add_manifest(archive, manifest, Encoder())
        held_out = Phantom(PROFILES[0], number=1, split="held-out")
        query = next((write_phantoms(folder / "query", [held_out]).parent / "images").iterdir())
        searches = {
            "by image": ["--image", str(query)],
            "by report": ["--text", held_out.report, "--n-images", str(images)],
        }
        for title, options in searches.items():
            arguments = ["search", "--archive", str(folder / "archive"), *options]
            spent(arguments, whole=False, cache=folder / "first", repetitions=1)  # reads all from disk, and calibrates
            quick, whole = (
                spent(arguments, whole=whole, cache=folder / title, repetitions=repetitions) for whole in (False, True)
            )
            show(title, quick, whole)


if __name__ == "__main__":
    main()
