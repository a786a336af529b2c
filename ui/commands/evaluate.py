"""`coin evaluate`: how well the archive's own cases find each other."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, with_settings
from ui.commands.output import echo, write_file
from ui.commands.progress import progress
from ui.errors import user_message
from ui.html.comparison_page import comparison_page
from ui.html.evaluation_page import evaluation_page
from ui.service import Service
from ui.settings import BY_NAME, Settings
from ui.text.evaluation.comparison import comparison_text
from ui.text.evaluation.judgements import judgements_text
from ui.text.evaluation.tables import choice_text, evaluation_text
from ui.text.json_text import json_text
from ui.text.layout import wrapped

if TYPE_CHECKING:
    from retrieval import Encoder, Evaluation, GenerationPlan

SAMPLE = "Query with this many cases, sampled at random. [default: all, or fewer where all take more than half an hour]"
ALL_REPORTS = "all"
FEWEST = 20
"""Queries by report: the interval of fewer decides nothing."""


def _checked(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    # Before the work and not after it: minutes of figures must not be lost to a mistyped folder.
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder '{path.parent}': make it, or name another.")
    return path


def _reports(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == ALL_REPORTS:
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"'{value}' is neither '{ALL_REPORTS}' nor a number from 1 upwards.")
    return int(value)


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--json", "json_file", type=_FILE, callback=_checked, help="Also write all figures to this JSON file.")
@click.option("--html", "html_file", type=_FILE, callback=_checked, help="Also plot them: a page that opens anywhere.")
@click.option("--sample", type=click.IntRange(1), help=SAMPLE)
@click.option(
    "--generate",
    callback=_reports,
    metavar="N|all",
    help="Also generate images from reports, about a second a report and image set on a processor: of N reports "
    "sampled at random, which are then the queries by report, or of all. Generated images are kept in --work.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the samples and of the resampled patients.",
)
@click.option(
    "--histogram/--no-histogram",
    default=None,
    help="Rank by colour alone, too; reads every image once. [default: --histogram, up to 30,000 images]",
)
@click.option(
    "--choose-fusion",
    "choice_file",
    type=_FILE,
    callback=_checked,
    help="Instead of the tables: compare fusion rules on half of the patients, measure the best on the other half, and "
    "write it to this TOML file.",
)
@click.option(
    "--judgements",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead of the tables: how the search ranks the cases that a reader ticked in a review (`coin sheet "
    "--judgements`).",
)
@click.option(
    "--work",
    type=_FOLDER,
    help="Folder that keeps what is expensive to make, so that an interrupted run resumes. [default: beside --cache]",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="TEXT",
    help=f"{BY_NAME['encoder'].help}. Given twice: compare the two on this archive, for images and for texts, and plot "
    f"(--html) the differences. [env var: {BY_NAME['encoder'].env}; default: {BY_NAME['encoder'].default_text}]",
)
@with_settings(
    *("n_images", "preset", "archive", "rules"),
    *(name for name in MODEL_SETTINGS if name != "encoder"),
    "text_encoder",
    *GENERATOR_SETTINGS,
)
def evaluate(
    settings: Settings,
    encoders: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    sample: int | None,
    generate: int | str | None,
    seed: int,
    histogram: bool | None,
    choice_file: Path | None,
    judgements: Path | None,
    work: Path | None,
) -> None:
    """Measure search by image, by report and by both on the archive's own cases, against chance and simple means.

    Leave-one-patient-out: every case with a category queries by its stored vectors and its report, the query's
    patient is left out, and a result is relevant where site, reporting system and category are the query's. The encoder
    is loaded where a search would read only a part of a report, the generator only for --generate. The same archive,
    options and seed give the same figures.

    With two encoders (--encoder A --encoder B), both of which have embedded the archive (`coin reembed --no-switch`):
    which of them is better for comparing images, and which for texts, in paired differences, by site.
    """
    from retrieval import choose_fusion, evaluate_archive, ordinal, rules_text

    started = time.monotonic()
    if choice_file is not None and html_file is not None:
        raise click.UsageError("--html goes with the tables, not with --choose-fusion")
    if len(encoders) == 2 and (choice_file is not None or generate is not None):
        raise click.UsageError("two encoders are compared without --choose-fusion and --generate")
    if judgements is not None and (html_file or choice_file or generate or sample or len(encoders) > 1):
        raise click.UsageError("--judgements goes with --json, --seed and the models alone")
    if len(encoders) > 2:
        raise click.UsageError("give --encoder once, or twice to compare two")
    if encoders:
        settings = replace(settings, encoder=encoders[0])
    service = Service(settings)
    click.get_current_context().call_on_close(service.close)
    if judgements is not None:
        _judged(service, judgements, json_file, seed)
        return
    if len(encoders) == 2:
        _compare(service, encoders[1], json_file, html_file, sample, seed, work or settings.work_folder)
        return
    rules = service.rules
    encoder, generation = _generation(service, generate, named=bool(encoders))
    work = work or settings.work_folder
    if choice_file is not None:
        choices = choose_fusion(
            service.archive,
            encoder=encoder,
            text_encoder=None if encoder is None else service.text_encoder,
            generation=generation,
            sample=sample,
            seed=seed,
            histogram=histogram,
            rules=rules,
            work=work,
            progress=progress,
        )
        write_file(choice_file, rules_text(choices, rules))
        if json_file is not None:
            write_file(json_file, json_text({"choices": choices}) + "\n")
        echo(choice_text(choices, choice_file.name))
        return
    evaluation = evaluate_archive(
        service.archive,
        encoder=encoder,
        text_encoder=None if encoder is None else service.text_encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        gain=ordinal,
        histogram=histogram,
        rules=rules,
        work=work,
        progress=progress,
    )
    if json_file is not None:
        write_file(json_file, json_text(evaluation) + "\n")
    if html_file is not None:
        write_file(html_file, evaluation_page(evaluation))
    echo(evaluation_text(evaluation))
    if generation is not None:
        echo(_kept(service, evaluation))
    click.echo(f"This took {duration(time.monotonic() - started)}.", err=True)  # not on stdout: the figures repeat


def _kept(service: Service, evaluation: Evaluation) -> str:
    """Keep with the archive what generated images add, by which searches generate or not; says what is kept."""
    from retrieval import MeasuredGain, keep_gain

    gain = evaluation.generation_gain
    if gain is None or gain.queries < FEWEST:
        return wrapped(
            f"Whether searches generate images was not decided: {FEWEST} queries by report are needed, and a rule that "
            "weighs generated images beside others."
        )
    texts = evaluation.text_fingerprint or evaluation.fingerprint
    measured = MeasuredGain(
        date=datetime.now(UTC).date().isoformat(),
        queries=gain.queries,
        gain=gain.gain,
        weights=service.generator.fingerprint,
        encoders={"image": evaluation.fingerprint, "text": texts},
    )
    try:
        keep_gain(service.archive, measured)
    except OSError as error:
        return wrapped(f"What generated images add could not be kept with the archive: {user_message(error)}")
    then = "generate images" if gain.helps else "generate no images unless they are asked to (`--generate`)"
    return wrapped(f"Kept with the archive ({measured.words}): from now on searches {then}.")


def duration(seconds: float) -> str:
    """A time as people say it: "7 s", "12 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _compare(
    service: Service,
    second: str,
    json_file: Path | None,
    html_file: Path | None,
    sample: int | None,
    seed: int,
    work: Path,
) -> None:
    from retrieval import Encoder, compare_encoders

    comparison = compare_encoders(
        service.archive,
        service.encoder,
        Encoder(second, device=service.settings.device),
        sample=sample,
        seed=seed,
        work=work,
        progress=progress,
    )
    if json_file is not None:
        write_file(json_file, json_text(comparison) + "\n")
    if html_file is not None:
        write_file(html_file, comparison_page(comparison))
    echo(comparison_text(comparison))


def _judged(service: Service, file: Path, json_file: Path | None, seed: int) -> None:
    from retrieval import evaluate_judgements, read_judgements

    judged = read_judgements(file.read_bytes(), service.archive.uuid)
    result = evaluate_judgements(service.cases, service.archive, judged, seed=seed)
    if json_file is not None:
        write_file(json_file, json_text(result) + "\n")
    echo(judgements_text(result))


def _generation(
    service: Service, generate: int | str | None, *, named: bool
) -> tuple[Encoder | None, GenerationPlan | None]:
    """`named`: whether --encoder was given. One that is not there is refused then; else the evaluation does without."""
    from index_store import EncoderMismatchError
    from retrieval import EncoderLoadError, GenerationPlan

    if generate is None:
        try:
            known = service.archive.encoder
            same = known is not None and service.encoder.fingerprint == known.fingerprint
        except (EncoderLoadError, EncoderMismatchError):  # the evaluation notes what is missing without it
            if named:
                raise
            return None, None
        return (service.encoder if same else None), None

    settings = service.settings
    plan = GenerationPlan(
        service.generator,
        reports=generate if isinstance(generate, int) else None,
        images=settings.n_images,
        preset=settings.preset,
    )
    return service.encoder, plan
