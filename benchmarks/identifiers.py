"""The recall of the search for direct identifiers, and its false alarms.

    python -m benchmarks.identifiers --coin REPORTS.csv --smears MANIFEST.csv
    python -m benchmarks.identifiers --each 20 --phantoms 50     # smallest

Found: of identifiers that the library Faker makes up (independently of the patterns), planted in sentences of reports,
and of those that this software's authors planted by hand (`tests/retrieval/ingest/planted_identifiers.toml`). An
identifier counts as found where all its letters and digits are covered. False alarms: in phantom reports of both
splits, in COIN's 20 published reports, in the shared smears' reports, and in sentences that only look as if they named
somebody. None of those contains an identifier.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from faker import Faker

from benchmarks.machine import describe_machine
from generation.phantom import phantom_cases
from retrieval.ingest.identifiers import ADDRESS, DATE, E_MAIL, NAME, RECORD, TELEPHONE, find_identifiers

PLANTED = Path(__file__).parents[1] / "tests" / "retrieval" / "ingest" / "planted_identifiers.toml"
LOCALES = ("en_US", "en_GB", "en_CA", "en_AU", "en_IN", "en_IE", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "sv_SE")
ENGLISH = LOCALES[:6]
DATE_FORMS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%d.%m.%y", "%m/%d/%y",
    "%b %d, %Y", "%B %Y", "%Y%m%d", "%Y-%m-%d %H:%M",
)  # fmt: skip
RECORD_FORMS = (
    "MRN ########", "MRN: #######", "Accession no. ?##-#####", "Accession number: ??####-#####", "Case no. ######",
    "Specimen ID: ########", "?##-#####", "Hospital number ?######", "Patient ID: ######-##", "Lab no: ##/######",
)  # fmt: skip
Case = tuple[str, str, str]
"""The kind, the text, and the words planted in it."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    planted = tomllib.loads(PLANTED.read_text(encoding="utf-8"))
    print(f"{describe_machine()}\n\n| planted | by | found | of |\n|---|---|---|---|")
    _print_found("Faker", _made_up(options.each, options.seed))
    by_hand = [
        (f"{kind}, beyond patterns" if report.get("beyond") else kind, report["text"], words)
        for report in planted["report"]
        for kind, words in report["planted"]
    ]
    _print_found("hand", by_hand)
    print("\n| reports that contain none | false alarms | reports | ms for each report |\n|---|---|---|---|")
    for split in ("train", "held-out"):
        phantoms = phantom_cases(options.phantoms, seed=options.seed, split=split)
        _print_alarms(f"phantoms, {split}", {phantom.report for phantom in phantoms})
    for name, file in (("COIN's examples", options.coin), ("shared smears", options.smears)):
        if file is not None:
            with file.open(encoding="utf-8", newline="") as rows:
                _print_alarms(name, {row["report"] for row in csv.DictReader(rows)})
    _print_alarms("written to look like identifiers", set(planted["lookalikes"]["texts"]))
    return 0


def is_found(text: str, words: str) -> bool:
    """Whether every letter and digit of `words` lies within an identifier found in `text`."""
    start = text.index(words)
    found = find_identifiers(text)
    positions = (start + i for i, character in enumerate(words) if character.isalnum())
    return all(any(item.start <= position < item.end for item in found) for position in positions)


def _made_up(each: int, seed: int) -> list[Case]:
    """`each` identifiers of every sort, made by Faker, in sentences that a report might hold."""
    rng = random.Random(seed)
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for number, faker in enumerate(fakers.values()):
        faker.seed_instance(seed + number)
    cases: list[Case] = []

    def plant(kind: str, words: str, *sentences: str) -> None:
        cases.append((kind, rng.choice(sentences).format(words), words))

    for _ in range(each):
        anyone, english = fakers[rng.choice(LOCALES)], fakers[rng.choice(ENGLISH)]
        full = f"{anyone.first_name()} {anyone.last_name()}"
        plant(f"{NAME} after a title", rng.choice([full, anyone.last_name()]), "Smear of Mrs. {}: NILM.",
              "Reported by Dr. {}.", "Seen by Prof. {}, malignant cells.", "Mr {} was informed.")  # fmt: skip
        plant(f"{NAME} after a label", full, "Patient name: {}. Urine, negative.", "Pathologist: {}. NILM.",
              "NILM. Screened by {}.", "Signed by: {}")  # fmt: skip
        plant(f'{NAME} before what people do ("… was seen again")', full, "{} was seen again with bloody discharge.")
        plant(
            f"{NAME} alone in a sentence", full, "The slides of {} are old.", "Discharge in {}, bloody.", "Spoke to {}."
        )
        plant(DATE, anyone.date_time_this_century().strftime(rng.choice(DATE_FORMS)), "Taken {}. Ascites, negative.",
              "Compared with the smear of {}, unchanged.", "Received on {}; adequate.")  # fmt: skip
        form = english.bothify(rng.choice(RECORD_FORMS), letters="ABCHLNPSTU")
        plant(RECORD, form.split(" ")[-1], f"NILM. {form}.", f"{form}; thyroid, benign.")
        plant(f"{TELEPHONE} after a label", anyone.phone_number(), "Tel. {}. NILM.", "Please call {} for the result.",
              "Phone: {}")  # fmt: skip
        plant(f"{TELEPHONE} alone, English-speaking", english.phone_number(), "Result given to the ward ({}).")
        plant(E_MAIL, anyone.email(), "Send a copy to {}.", "NILM ({}).")
        plant(ADDRESS, english.address().replace("\n", ", "), "Lives at {}.", "Address: {}")
    return cases


def _print_found(by: str, cases: Iterable[Case]) -> None:
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for kind, text, words in cases:
        total[kind] += 1
        found[kind] += is_found(text, words)
    for kind, count in total.items():
        print(f"| {kind} | {by} | {found[kind]} | {count} |")


def _print_alarms(name: str, reports: set[str]) -> None:
    started = time.perf_counter()
    alarms = sum(len(find_identifiers(report)) for report in reports)
    print(f"| {name} | {alarms} | {len(reports)} | {(time.perf_counter() - started) / len(reports) * 1000:.2f} |")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=int, default=1000, help="identifiers of each sort that Faker makes")
    parser.add_argument("--phantoms", type=int, default=6000, help="phantom reports of each split")
    parser.add_argument("--coin", type=Path, help="COIN's reports.csv")
    parser.add_argument("--smears", type=Path, help="manifest of the shared smears")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
