"""`coin demo`: an archive of phantoms, and the main job run on it by report and by image.

All files are in one folder. A second run uses the archive of the first and adds nothing twice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from PIL import Image

from ui.commands.options import CACHE_SETTINGS, with_settings
from ui.commands.output import echo
from ui.commands.progress import progress
from ui.image_labels import PHANTOM, SYNTHETIC
from ui.pictures.contact_sheet import Section, Tile, contact_sheet, save_sheet
from ui.service import Service, open_archive
from ui.settings import Settings
from ui.text.archive import add_text
from ui.text.layout import clean
from ui.text.score import score_scale
from ui.text.search import search_text

if TYPE_CHECKING:
    from generation import Phantom
    from retrieval import AddSummary, SearchResult

CASES: Final = 576  # 12 for each of the 48 classes of phantoms
REPORT_QUERY: Final = ("cervix", "high-grade squamous lesion")
IMAGE_QUERY: Final = ("thyroid", "papillary thyroid carcinoma")


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for everything that the demo makes.",
)
@with_settings("k", "n_images", "seed", "preset", "device", *CACHE_SETTINGS)
def demo(settings: Settings, out: Path) -> None:
    """Build a small archive of phantoms, and search it by a report and by an image."""
    from generation import FIELD
    from retrieval import default_rules

    result = run_demo(out, settings)
    echo(f"Archive of phantoms at '{result.archive}': {add_text(result.added)}")
    echo(f"Its images are fields {FIELD.width_um:g} µm wide; 'coin status' says their scale.\n")
    rule = default_rules()["report"]
    echo(f"=== By report ===\n{search_text(result.by_report, rule)}\n")
    echo(f"=== By image ===\n{search_text(result.by_image, rule)}\n")
    echo(f"Generated images: {', '.join(str(path) for path in result.images)}")
    echo(f"Picture of both results: {result.sheet}")
    echo(f"Open the view: coin ui --archive {result.archive}   (in a checkout: make ui)")


@dataclass(frozen=True)
class Demo:
    """What one run of the demo made."""

    archive: Path
    added: AddSummary
    by_report: SearchResult
    by_image: SearchResult
    images: tuple[Path, ...]
    """The generated images."""
    sheet: Path


def run_demo(folder: Path, settings: Settings) -> Demo:
    """Build the archive in `folder`, search it by a report and by an image outside it; save the pictures."""
    from generation import phantom_cases, write_phantoms
    from retrieval import Query

    archive = folder / "archive"
    settings = dataclasses.replace(settings, archive=str(archive))
    manifest = write_phantoms(folder / "phantoms", phantom_cases(CASES))
    added = _build(archive, manifest, settings)
    service = Service(settings)

    phantom = held_out(*REPORT_QUERY)
    with progress("Generating", unit="steps") as update:
        by_report = service.search(
            Query(text=phantom.report, seeds=service.seeds, preset=settings.preset, k=settings.k), progress=update
        )
    shown = write_phantoms(folder / "query", [held_out(*IMAGE_QUERY)]).parent / "images"
    query = next(shown.glob("*.png"))
    by_image = service.search(Query(image=query.read_bytes(), label=query.name, k=settings.k))

    images = _save_generated(by_report, folder / "generated")
    with Image.open(query) as picture:
        sheet = save_sheet(_sheet(by_report, by_image, picture.convert("RGB")), folder / "result.png")
    return Demo(archive, added, by_report, by_image, images, sheet)


def _build(archive: Path, manifest: Path, settings: Settings) -> AddSummary:
    from index_store import Archive
    from retrieval import Encoder, add_manifest

    if not archive.exists():
        Archive.create(archive, name="Demo: phantoms").close()
    with open_archive(archive) as opened, progress("Adding", unit="images") as update:
        return add_manifest(opened, manifest, Encoder(settings.encoder, device=settings.device), progress=update)


def held_out(site: str, finding: str) -> Phantom:
    """A phantom of that finding whose wording and random numbers no phantom of the archive has."""
    from generation import PROFILES, Phantom

    profile = next(p for p in PROFILES if (p.site, p.finding) == (site, finding))
    return Phantom(profile, number=1, split="held-out")


def _save_generated(result: SearchResult, folder: Path) -> tuple[Path, ...]:
    from generation import private_folder, save_png

    private_folder(folder)
    generation = result.generation
    images = () if generation is None else generation.images
    return tuple(save_png(m.image, folder / f"seed-{m.provenance.seed}.png", m.provenance) for m in images)


def _sheet(by_report: SearchResult, by_image: SearchResult, query: Image.Image) -> Image.Image:
    generation = by_report.generation
    images = () if generation is None else generation.images
    generated = tuple(
        Tile(m.image, f"seed {m.provenance.seed}", f"{m.provenance.preset}, {m.provenance.steps} steps", SYNTHETIC)
        for m in images
    )
    site, finding = IMAGE_QUERY
    query_tile = Tile(query, "query", f"held-out phantom: {site}, {finding}", PHANTOM)
    return contact_sheet(
        "COIN retrieval: which cases look like this one?",
        (
            Section("By report: the images that COIN generated from it", clean(by_report.query.text), generated),
            Section("The cases nearest to that report", "", _tiles(by_report)),
            Section(
                "By image: the query image, and the cases nearest to it", "", (query_tile, *_tiles(by_image, most=4))
            ),
        ),
    )


def _tiles(result: SearchResult, *, most: int = 5) -> tuple[Tile, ...]:
    from index_store import decode_image
    from retrieval import default_rules

    scale = score_scale(result, default_rules()["report"])
    tiles = []
    for ranked in result.cases[:most]:
        picture = decode_image(ranked.image.path, expected=ranked.image.file_sha256)
        text = clean(f"{ranked.case.site}, {ranked.case.category}\n{ranked.case.report}")
        mark = PHANTOM if ranked.case.phantom else ""
        tiles.append(Tile(picture, f"{ranked.rank}.  {scale.text(ranked.score)}", text, mark))
    return tuple(tiles)
