"""The effect of boilerplate in reports (advice, adequacy statements, signatures) on each channel.

    python -m benchmarks.report_text

Held-out phantom reports query an archive of other held-out phantoms, as they are and with administrative sentences
around them; as given, and stripped by `retrieval.language.query_text` with and without its headings. Printed is the
share of the first 10 cases of the query's site, and of its site and category. The channel `generated` condenses its
prompt by itself (`generation.prompts.prompt`); it has fewer queries, since generating takes most of the time.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.machine import describe_machine
from generation import CoinGenerator, GenerationCache
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms
from index_store import Archive, Case
from retrieval import CaseSearch, Encoder, Label, Query, add_manifest, precision_at_k
from retrieval.language.query_text import morphology_and_diagnosis

K = 10
QUERY_SEED = 77  # not those that `benchmarks.starter` reports on
BEFORE = "Specimen adequacy: satisfactory for evaluation. Number of slides: 2. Microscopic description: "
AFTER = (
    " Recommendation: Follow-up with colposcopy and biopsy if clinically indicated. Reported by Dr. A. Example.",
    " Recommendation: Please correlate with the clinical and radiological findings; repeat cytology in 3 to 6 months "
    "is recommended. Reported by Dr. A. Example.",
    " Recommendation: Immunohistochemistry and further clinical examination are recommended to exclude malignancy. "
    "Reported by Dr. A. Example.",
    " Recommendation: It is advised to repeat the puncture if the nodule grows. Reported by Dr. A. Example.",
)
FORMS: dict[str, Callable[[str], str]] = {
    "as given": lambda text: text,
    "stripped": morphology_and_diagnosis,
    "stripped, headings kept": lambda text: morphology_and_diagnosis(text, headings=True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=1, split="held-out")
    queries = phantom_cases(options.queries, seed=QUERY_SEED, split="held-out")
    logging.disable(logging.INFO)
    print(f"{len(queries)} held-out reports ({options.generated} for generated images) against {len(references)} cases")
    print(f"{describe_machine()}\n")
    print(f"| channel | report | text | P@{K} site | P@{K} site + category |\n|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        generator = CoinGenerator(cache=GenerationCache(Path(folder) / "generated"))
        with Archive.create(Path(folder) / "archive") as archive:
            manifest = write_phantoms(Path(folder) / "phantoms", references)
            encoder = Encoder()
            add_manifest(archive, manifest, encoder, in_place=True)
            search = CaseSearch(archive, encoder, generator, strip=str)  # the benchmark varies the text itself
            labels = [_label(phantom) for phantom in references]
            for channel in ("joint", "report", "generated"):
                channel_queries = queries[: options.generated] if channel == "generated" else queries
                for name, around in (("plain", _plain), ("with boilerplate", _boilerplate)):
                    for form, change in FORMS.items():
                        texts = [change(around(query.report, i)) for i, query in enumerate(channel_queries)]
                        hits = [
                            [_label_of(entry.case) for entry in search.run(_query(text, query, channel)).cases]
                            for text, query in zip(
                                tqdm(texts, desc=channel, file=sys.stderr), channel_queries, strict=True
                            )
                        ]
                        measured = precision_at_k([_label(query) for query in channel_queries], hits, labels, k=K)
                        print(
                            f"| {channel} | {name} | {form} | {measured.site} | {measured.site_category} |", flush=True
                        )
    return 0


def _plain(text: str, _: int) -> str:
    return text


def _boilerplate(text: str, number: int) -> str:
    return f"{BEFORE}{text}{AFTER[number % len(AFTER)]}"


def _query(text: str, query: Phantom, channel: str) -> Query:
    return Query(text=text, channels=(channel,), seeds=(query.seed, query.seed + 1), k=K)


def _label(phantom: Phantom) -> Label:
    return Label(phantom.morphology.site, phantom.morphology.category)


def _label_of(case: Case) -> Label:
    return Label(case.site, case.category)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=176)
    parser.add_argument("--generated", type=int, default=88, help="queries by generated images, two images each")
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
