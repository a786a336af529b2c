"""The check of generated images: is the site judged rightly, and does dropping wrong ones improve a search?

    python -m benchmarks.generated_query

First the rule alone (`retrieval.generated.site_check`), on rendered phantoms of a known site: how often is one judged
wrong where the query's site is its own (it should not be), and where it is another (it should)? In the whole archive,
and with fewer cases of the query's site.

Then searches by report, with and without the check, on other held-out phantoms: by the report as it is, and by the
report without the words that name its site, with the site as an option.

Last, COIN's 20 example reports in an archive of the shared real smears and the phantoms: how many images are judged to
be of another site. The right sites are not known there.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from benchmarks.machine import describe_machine
from generation import CoinGenerator, GenerationCache
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms
from index_store import Archive
from retrieval import Encoder, GeneratedQuery, Label, add_manifest, generate_query, precision_at_k
from retrieval.generated.checked_generation import state_site
from retrieval.generated.site_check import NEAREST, SiteCheck
from retrieval.language.vocabulary import vocabulary, word_pattern
from retrieval.search.results_assembly import nearest_cases

SHARED = Path(__file__).parents[1] / "../shared/data"
REFERENCE_SEED = 1
RULE_SEED = 78
K = 10
PARTS = ("rule", "search", "examples")
THINNED = (50, 20)
TIMED = 20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=REFERENCE_SEED, split="held-out")
    encoder = Encoder(device=options.device).load()
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        generator = CoinGenerator(device=options.device, cache=GenerationCache(folder / "generated"))
        manifest = write_phantoms(Path(temporary) / "phantoms", references)
        print(describe_machine())
        with _archive(Path(temporary) / "archive", encoder, manifest) as archive:
            if "rule" in options.parts:
                _rule(encoder, references, Path(temporary), options)
            if "search" in options.parts:
                _search(archive, encoder, generator, references, options)
        real = options.data / "cytology" / "manifest.csv"
        if "examples" in options.parts and not real.is_file():
            print(f"There is no manifest {real}, so there are no figures of real smears: name the folder with --data.")
        elif "examples" in options.parts:
            with _archive(Path(temporary) / "mixed", encoder, manifest, real) as archive:
                _examples(archive, encoder, generator, options)
    return 0


def _rule(encoder: Encoder, references: list[Phantom], folder: Path, options: argparse.Namespace) -> None:
    """How often a rendered phantom is judged to show another site than the query's.

    Half of the sites have fewer cases at a time: these are the queries' sites; the others keep all their cases.
    """
    phantoms = phantom_cases(options.queries, seed=RULE_SEED, split="held-out")
    vectors = encoder.encode_images([phantom.render() for phantom in phantoms])
    sites = sorted({phantom.morphology.site for phantom in references})
    shows = np.array([phantom.morphology.site for phantom in phantoms])
    print(
        f"\n| patients of the query's site | judged wrong, query of the own site (n = {len(shows)}) | of another site |"
    )
    print("|---|---|---|")
    for fewest in (None, *THINNED):
        own, other = [], []
        for part, thin in enumerate((sites,) if fewest is None else (sites[::2], sites[1::2])):
            kept, taken = [], Counter[str]()
            for row in np.random.default_rng(0).permutation(len(references)):
                site = references[row].morphology.site
                taken[site] += 1
                if fewest is None or site not in thin or taken[site] <= fewest:
                    kept.append(references[row])
            name = f"{fewest}-{part}"
            manifest = write_phantoms(folder / f"phantoms-{name}", kept)
            with _archive(folder / f"archive-{name}", encoder, manifest) as archive:
                for site in thin:
                    judged = SiteCheck(archive, fingerprint=encoder.fingerprint).judge(vectors, site)
                    verdicts = np.array([shown.verdict for shown in judged])
                    own += list(verdicts[shows == site] == "wrong")
                    other += list(verdicts[shows != site] == "wrong")
        print(f"| {fewest or 'all'} | {np.mean(own):.3f} | {np.mean(other):.3f} (n = {len(other)}) |", flush=True)


@dataclasses.dataclass(frozen=True)
class ReportQuery:
    """A phantom's report as a query."""

    phantom: Phantom
    report: str
    site: str


def _search(
    archive: Archive, encoder: Encoder, generator: CoinGenerator, references: list[Phantom], options: argparse.Namespace
) -> None:
    queries = phantom_cases(options.queries, seed=options.query_seed, split="held-out")
    labels = [_label(phantom) for phantom in references]
    ways: dict[str, Callable[[Phantom], ReportQuery]] = {
        "report": lambda phantom: ReportQuery(phantom, phantom.report, ""),
        "report without site words, site given": lambda phantom: ReportQuery(
            phantom, without_site(phantom.report), phantom.morphology.site
        ),
    }
    print(f"\n{len(queries)} held-out phantom queries, {len(references)} references, {options.images} images, draft")
    for name, as_query in ways.items():
        report_queries = [as_query(phantom) for phantom in queries]
        checked, seconds = [], []
        for query in tqdm(report_queries, desc=name, file=sys.stderr):
            generated = _generate(generator, encoder, archive, query, options)
            checked.append(generated)
            if len(seconds) < TIMED and not any(image.attempt == 2 for image in generated.images):  # all are cached now
                started = time.process_time()
                _generate(generator, encoder, archive, query, options)
                whole = time.process_time() - started
                started = time.process_time()
                generation = generator.generate(query.report, seeds=_seeds(query, options), preset="draft")
                encoder.encode_images([image.image for image in generation.images])
                seconds.append(whole - (time.process_time() - started))
        _print_verdicts(name, checked)
        print(f"the check takes a median of {1000 * np.median(seconds):.0f} ms (CPU) beside generating and embedding")
        unchecked = []
        for query in report_queries:
            generation = generator.generate(query.report, seeds=_seeds(query, options), preset="draft")
            unchecked.append(encoder.encode_images([image.image for image in generation.images]))
        stated = []
        if options.always_state and report_queries[0].site:
            for query in tqdm(report_queries, desc="site stated", file=sys.stderr):
                text = state_site(query.report, query.phantom.morphology.site)
                generation = generator.generate(text, seeds=_seeds(query, options), preset="draft")
                stated.append(encoder.encode_images([image.image for image in generation.images]))
        with_dropped = [i for i, query in enumerate(checked) if any(image.attempt == 2 for image in query.images)]
        everything = list(range(len(report_queries)))
        print(f"| {name} | n | P@{K} site | P@{K} site + category |\n|---|---|---|---|")
        for which, selected in (("all", everything), ("with an image dropped", with_dropped)):
            for how, vectors in (
                ("unchecked", unchecked),
                ("checked", [query.vectors for query in checked]),
                *((("site stated from the start", stated),) if stated else ()),
            ):
                if not selected:
                    continue
                hits = []
                for i in selected:
                    cases = nearest_cases(archive, vectors[i], K, where=None, fingerprint=encoder.fingerprint)
                    hits.append([Label(entry.case.site, entry.case.category) for entry in cases])
                p = precision_at_k([_label(report_queries[i].phantom) for i in selected], hits, labels, k=K)
                print(f"| {which}, {how} | {len(selected)} | {p.site} | {p.site_category} |")


def _examples(archive: Archive, encoder: Encoder, generator: CoinGenerator, options: argparse.Namespace) -> None:
    with (options.data / "coin-examples" / "reports.csv").open(newline="", encoding="utf-8") as handle:
        reports = [row["report"] for row in csv.DictReader(handle)]
    print(f"\nCOIN's {len(reports)} example reports in an archive of real smears and phantoms (no claim of quality)")
    checked = [
        generate_query(generator, encoder, archive, report, seeds=range(options.images), preset="draft")
        for report in tqdm(reports, desc="examples", file=sys.stderr)
    ]
    _print_verdicts("examples", checked)
    for query in checked:
        first = [image for image in query.images if image.attempt == 1]
        shown = Counter(image.shown_site or "?" for image in first)
        print(f"  query {first[0].asked_site or '-':16} shown {dict(shown)}; {' '.join(query.notes)[:160]}")


def without_site(report: str) -> str:
    """A held-out phantom report without the specimen, and without any word that the vocabulary has for a site."""
    text = re.sub(r"^\s*\([^()]*\)\s*", "", report)
    text = re.sub(r"^[^.:;]*? cytology with", "Cytology with", text)
    text = re.sub(r"^Microscopy of the .*? shows", "Microscopy shows", text)
    names = tuple(alias for site in vocabulary().sites for alias in site.aliases)
    return " ".join(word_pattern(names).sub("", text).split())


def _print_verdicts(name: str, checked: Sequence[GeneratedQuery]) -> None:
    images = [image for query in checked for image in query.images]
    first = Counter(image.verdict for image in images if image.attempt == 1)
    retries = Counter(image.verdict for image in images if image.attempt == 2)
    nearest = [image.hash_distance for image in images if image.hash_distance is not None]
    print(f"\n{name}: first attempts {dict(first)}, second attempts {dict(retries)} (site by the {NEAREST} nearest)")
    print(f"reports with no right image left: {sum('all the same' in ' '.join(query.notes) for query in checked)}")
    print(
        f"near copies: {sum(image.near_copy for image in images)} of {len(images)}; bits to the nearest, least 5: ",
        end="",
    )
    print(sorted(nearest)[:5])


def _generate(
    generator: CoinGenerator, encoder: Encoder, archive: Archive, query: ReportQuery, options: argparse.Namespace
) -> GeneratedQuery:
    return generate_query(
        generator, encoder, archive, query.report, seeds=_seeds(query, options), preset="draft", site=query.site
    )


def _seeds(query: ReportQuery, options: argparse.Namespace) -> range:
    return range(query.phantom.seed, query.phantom.seed + options.images)


def _label(phantom: Phantom) -> Label:
    return Label(phantom.morphology.site, phantom.morphology.category)


@contextmanager
def _archive(folder: Path, encoder: Encoder, *manifests: Path) -> Iterator[Archive]:
    with Archive.create(folder) as archive:
        for manifest in manifests:
            add_manifest(archive, manifest, encoder, in_place=True)
        yield archive


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--queries", type=int, default=176)
    parser.add_argument("--query-seed", type=int, default=77)
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--images", type=int, default=4, help="generated images for each report")
    parser.add_argument(
        "--always-state", action="store_true", help="also search with the given site stated from the start"
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/ and coin-examples/")
    parser.add_argument(
        "--folder", type=Path, help="keep generated images here, so that a second run generates nothing"
    )
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
