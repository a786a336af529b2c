"""Mutation testing of a seeded sample: does a test fail when a line is changed? (`make mutants`)

    python -m tests.mutants --sample 120 --seed 7
    python -m tests.mutants --sample 40 --only retrieval/search retrieval/evaluation
    python -m tests.mutants --lines retrieval/search/fusion.py:120

The tests, slow ones too, run once under coverage, which records which test executes which line. Each mutant (one change
by one of cosmic-ray's operators, or a swap of `min` and `max`) is then written into a copy of the checkout, and the
tests that cover its line run until one fails. A test that fails on the unchanged code, too, does not count; a mutant on
which the tests take many times as long as unchanged is stopped, and counts as killed. Modules are sampled in proportion
to the number of places that can be changed, and each place is equally likely. Annotations, docstrings and `if
TYPE_CHECKING` are left alone.

A survivor is printed with its change. `tests/equivalent_mutants.txt` names those that change nothing that can be
observed, and why (`path | operator | the line`); they are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from coverage import CoverageData

ROOT = Path(__file__).parents[1]
PACKAGES = ("generation", "index_store", "retrieval", "ui")
LEFT_OUT = ("/training/starter/",)
"""Not in the wheel; nor are their tests run, which train for minutes."""
CACHE = ROOT / ".mutants"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
SECONDS = 60.0
"""Of tests chosen for one mutant, as they took unchanged."""
OF_ALL = "tests/test_architecture.py::"
"""These tests read every module: they see what none that executes a line does (a record that is not frozen)."""
RUNNING: set[subprocess.Popen[bytes]] = set()
STOPPED = -1
"""The status of tests that took too long."""
NOTHING_COLLECTED = 5
"""pytest's status where a file holds no test that was asked for."""
PATIENCE = 4
"""How many times as long as unchanged the tests may take, and a minute: a mutant that loops is killed by that."""
COMPARISONS = {"Eq": ("NotEq",), "NotEq": ("Eq",), "Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE")}
COMPARISONS |= {"GtE": ("Gt", "Lt"), "Is": ("IsNot",), "IsNot": ("Is",)}
ARITHMETIC = {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul", "Pow": "Mul"}
ARITHMETIC |= {"BitOr": "BitAnd", "BitAnd": "BitOr"}
OTHERS = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer",
    "ZeroIterationForLoop", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not",
)  # fmt: skip


class SwapMinMax(Operator):
    """`min` for `max`, `maximum` for `minimum`, `argmax` for `argmin`, and the other way round."""

    PAIRS = (("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("fmin", "fmax"))
    SWAPPED: ClassVar = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if isinstance(node, parso.python.tree.Name) and node.value in self.SWAPPED:
            following = node.get_next_leaf()
            if following is not None and following.value == "(":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name(self.SWAPPED[node.value], node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x = min(1, 2)", "x = max(1, 2)"),)


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    path: str
    line: int
    operator: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.operator}"


def operators() -> dict[str, Operator]:
    names = [f"ReplaceComparisonOperator_{a}_{b}" for a, others in COMPARISONS.items() for b in others]
    names += [f"ReplaceBinaryOperator_{a}_{b}" for a, b in ARITHMETIC.items()]
    made = {name: cosmic_ray.plugins.get_operator(f"core/{name}")() for name in (*names, *OTHERS)}
    return {**made, "SwapMinMax": SwapMinMax()}


def sites(path: Path) -> dict[tuple[int, int], list[Mutant]]:
    """The mutants of a module by the place that they change."""
    source = path.read_text(encoding="utf-8")
    skipped = skipped_lines(ast.parse(source))
    annotated = annotation_spans(ast.parse(source))
    found: dict[tuple[int, int], list[Mutant]] = defaultdict(list)
    nodes, lines = list(ast_nodes(get_ast(source))), source.splitlines()
    for name, operator in operators().items():
        positions = ((node, place) for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (node, (start, end)) in enumerate(positions):
            inside = any(first <= start and end <= last for first, last in annotated)
            # The stars of `f(a, *, b)` and `{**a}` multiply nothing.
            star = "BinaryOperator" in name and node.parent.type not in (
                "term",
                "arith_expr",
                "expr",
                "and_expr",
                "power",
            )
            # cosmic-ray replaces `ValueError` by another exception, and fails on `json.JSONDecodeError`.
            dotted = name == "ExceptionReplacer" and "." in lines[start[0] - 1][start[1] : end[1]]
            if start[0] not in skipped and not inside and not star and not dotted:
                found[start].append(Mutant(path.relative_to(ROOT).as_posix(), start[0], name, occurrence))
    return found


def skipped_lines(tree: ast.Module) -> set[int]:
    """Imports, names of types, and what runs for type checkers alone."""
    found: set[int] = set()
    for node in ast.walk(tree):
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        alias = isinstance(node, ast.Assign) and "NDArray" in ast.unparse(node.value)
        if checking or alias or isinstance(node, ast.Import | ast.ImportFrom):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def annotation_spans(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    parts: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
    return [
        ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0))
        for part in parts
        if part is not None
    ]


def product(names: Iterable[str]) -> list[Path]:
    """The modules of these folders, or these modules."""
    paths = {p for one in (ROOT / name for name in names) for p in ([one] if one.is_file() else one.rglob("*.py"))}
    return sorted(path for path in paths if not any(part in path.as_posix() for part in LEFT_OUT))


def sampled(paths: Sequence[Path], count: int, seed: int) -> list[Mutant]:
    places = [mutants for path in paths for _, mutants in sorted(sites(path).items())]
    rng = random.Random(seed)
    rng.shuffle(places)
    chosen: list[Mutant] = []
    for mutants in places:
        if len(chosen) == count:
            break
        # What is no Python (`if not found := …`) would be killed by anything.
        chosen += next(([one] for one in rng.sample(mutants, len(mutants)) if is_python(changed_source(one, ROOT))), [])
    return chosen


@dataclass(frozen=True)
class Covering:
    """Which tests execute which lines, and how long each test takes."""

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def tests(self, mutant: Mutant, seconds: float = SECONDS) -> list[str]:
        """Those that cover the line, the nearest first, up to `seconds` (of a module constant: those beside it), then
        those that read all modules."""
        module = Path(mutant.path)
        folders = ("tests", *module.parts[:-1])

        def distance(test: str) -> tuple[bool, int]:
            """Whether another module is tested; and how many folders the test does not share with the mutant."""
            path = Path(test.partition("::")[0])
            shared = takewhile(lambda pair: pair[0] == pair[1], zip(folders, path.parts, strict=False))
            return path.stem != f"test_{module.stem}", len(folders) - len(list(shared))

        named = set(self.lines.get(mutant.path, {}).get(mutant.line, []))
        if not named:  # run at import
            named = {test for lines in self.lines.get(mutant.path, {}).values() for test in lines}
        by_time = sorted(named, key=lambda test: (self.seconds.get(test, 1.0), test))
        # Of each test one case of its parameters, then a second: twenty cases of one test see little more than one.
        turns: Counter[str] = Counter()
        turn = {}
        for test in by_time:
            turn[test] = turns[function := test.partition("[")[0]]
            turns[function] += 1
        ordered = sorted(by_time, key=lambda test: (*distance(test), turn[test]))
        chosen, total = [], 0.0
        for test in ordered:
            total += self.seconds.get(test, 1.0)
            if total > seconds and chosen:
                break
            chosen.append(test)
        return chosen + sorted(test for test in self.seconds if test.startswith(OF_ALL))


def covering(fresh: bool) -> Covering:
    """What covers what in the checkout as it is.

    `.mutants/` keeps what was measured. After that only the tests of changed files run anew; of a changed module the
    lines that stay keep the tests that cover them. What all tests share (`conftest.py`, the modules beside it) is not
    looked at: `fresh` measures everything.
    """
    kept = CACHE / "covering.json"
    known: dict[str, Any] = {"lines": {}, "tests": [], "seconds": {}, "files": {}}
    if kept.exists() and not fresh:
        known = json.loads(kept.read_text(encoding="utf-8"))
    before, seconds, named = known["files"], known["seconds"], known["tests"]
    paths = {path.relative_to(ROOT).as_posix(): path for path in product((*PACKAGES, "tests"))}
    files = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    changed = {name for name in {*files, *before} if files.get(name) != before.get(name)}
    outdated = {name for name in changed if name.startswith("tests/") and Path(name).name.startswith("test_")}
    lines: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for name, covered in known["lines"].items():
        moved = lines_that_stay(before[name], files.get(name, "")) if name in changed else None
        for number, tests in covered.items():
            now = int(number) if moved is None else moved.get(int(number))
            left = [named[test] for test in tests if named[test].partition("::")[0] not in outdated]
            if now is not None and left:
                lines[name][now] = left
    if changed:
        measured, taken = measure(sorted(outdated & files.keys()))
        for name, covered in measured.items():
            for line, tests in covered.items():
                lines[name][line] = sorted({*lines[name].get(line, []), *tests})
        seconds.update(taken)
        place = {test: number for number, test in enumerate(sorted(seconds))}
        by_number = {
            name: {n: [place[test] for test in tests] for n, tests in covered.items()}
            for name, covered in lines.items()
        }
        document = {"lines": by_number, "tests": sorted(seconds), "seconds": seconds, "files": files}
        kept.write_text(json.dumps(document), encoding="utf-8")
    return Covering(lines, seconds)


def lines_that_stay(before: str, after: str) -> dict[int, int]:
    """The number of each line of a text in a later version of it, where it is still there."""
    blocks = SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False).get_matching_blocks()
    return {block.a + n + 1: block.b + n + 1 for block in blocks for n in range(block.size)}


def measure(files: Sequence[str]) -> tuple[dict[str, dict[int, list[str]]], dict[str, float]]:
    """Which tests of `files` execute which lines, and the seconds that each takes."""
    if not files:
        return {}, {}
    CACHE.mkdir(exist_ok=True)
    report = CACHE / "tests.xml"
    arguments = ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile", "--cov-context=test", "--cov-report="]
    # With the slow tests; what a browser asks for runs in processes that are not measured.
    arguments += [*(f"--cov={package}" for package in PACKAGES), "-m", "not cluster and not browser"]
    (CACHE / "coverage").unlink(missing_ok=True)
    status = run_tests(ROOT, [*arguments, *junit(report), *files], {"COVERAGE_FILE": CACHE / "coverage"})
    if status == NOTHING_COLLECTED:
        return {}, {}
    if status not in (0, 1):
        sys.exit(f"The tests do not run without any mutant (pytest's status {status}): see `make test`.")
    failing = failed_in(report)
    if failing:
        print("left out, since they fail without any mutant:", *sorted(failing), sep="\n    ", flush=True)
    data = CoverageData(str(CACHE / "coverage"))
    data.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for name in data.measured_files():
        contexts = data.contexts_by_lineno(name)
        tests = {n: sorted({c.rpartition("|")[0] for c in names if c} - failing) for n, names in contexts.items()}
        lines[Path(name).relative_to(ROOT).as_posix()] = {n: named for n, named in tests.items() if named}
    return lines, seconds_of(report)


def junit(report: Path) -> list[str]:
    """pytest's options that write a report which names the tests' files."""
    return [f"--junitxml={report}", "-o", "junit_family=xunit1"]


def cases_of(report: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    """The tests of a report, as pytest's command line names them."""
    for case in ElementTree.parse(report).iter("testcase"):
        inner = case.get("classname", "").removeprefix(case.get("file", "").removesuffix(".py").replace("/", "."))
        yield "::".join([case.get("file", ""), *filter(None, inner.split(".")), case.get("name", "")]), case


def seconds_of(report: Path) -> dict[str, float]:
    return {name: float(case.get("time", 0)) for name, case in cases_of(report)}


def failed_in(report: Path) -> set[str]:
    """Tests that failed, or whose fixtures did."""
    return {
        name for name, case in cases_of(report) if case.find("failure") is not None or case.find("error") is not None
    }


def run_tests(folder: Path, arguments: Iterable[str], environment: dict[str, Any], timeout: float | None = None) -> int:
    """pytest's exit status in `folder`; `STOPPED` where it took longer than `timeout` seconds."""
    told = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    told |= {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # A session of its own, so that what the tests started (a server, workers) is stopped with them.
    process = subprocess.Popen(
        command, cwd=folder, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    RUNNING.add(process)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return STOPPED
    finally:
        RUNNING.discard(process)
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def survives(mutant: Mutant, folder: Path, tests: Sequence[str], seconds: float) -> bool:
    """Whether no test fails on it that passes on the code as it is.

    Args:
        tests: run in this order.
        seconds: what they take unchanged.

    Raises:
        RuntimeError: the operator changes nothing, or pytest does not know the tests.
    """
    if not tests:
        return True
    path = folder / mutant.path
    source, changed = path.read_text(encoding="utf-8"), changed_source(mutant, folder)
    if changed == source:
        raise RuntimeError(f"{mutant} changes nothing")
    report = folder.parent / "tests.xml"
    report.unlink(missing_ok=True)
    path.write_text(changed, encoding="utf-8")
    try:
        status = run_tests(folder, ["-x", "-m", "", *junit(report), *tests], {}, timeout=PATIENCE * seconds + 60)
    finally:
        path.write_text(source, encoding="utf-8")
    if status in (0, STOPPED):
        return status == 0
    failed = failed_in(report) & set(tests) if report.exists() else set()
    if failed:
        if not run_tests(folder, ["-m", "", *sorted(failed)], {}):
            return False
        print(f"left out, since they fail without {mutant}, too:", *sorted(failed), sep="\n    ", flush=True)
        return survives(mutant, folder, [test for test in tests if test not in failed], seconds)
    # No test failed, but pytest did not run them: the module cannot be imported. That kills a mutant only where pytest
    # finds the tests in the code as it is.
    if run_tests(folder, ["--collect-only", "-m", "", *tests], {}):
        raise RuntimeError(f"pytest does not find the tests of {mutant}: measure anew with --fresh")
    return False


def changed_source(mutant: Mutant, folder: Path) -> str:
    """The changed module; unchanged where the operator changes nothing."""
    source = (folder / mutant.path).read_text(encoding="utf-8")
    changed = mutate_code(source, operators()[mutant.operator], mutant.occurrence)
    return source if changed is None else str(changed)


def is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def change_of(mutant: Mutant) -> str:
    """The changed line, before and after."""
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    before, after = (text.splitlines()[mutant.line - 1] for text in (source, changed_source(mutant, ROOT)))
    return f"    - {before.strip()}\n    + {after.strip()}"


def is_equivalent(mutant: Mutant) -> bool:
    """Whether `equivalent_mutants.txt` names it: `path | operator | the line, unchanged`."""
    line = (ROOT / mutant.path).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()
    named = EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else []
    return f"{mutant.path} | {mutant.operator} | {line}" in named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=PACKAGES, help="folders or modules")
    parser.add_argument("--lines", nargs="*", default=(), help="path:line; all mutants of these lines")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of tests chosen for one mutant (%(default)s)")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--fresh", action="store_true", help="measure anew what all tests cover")
    options = parser.parse_args()
    if options.lines:
        asked = {(line.rpartition(":")[0], int(line.rpartition(":")[2])) for line in options.lines}
        every = [m for name in sorted({n for n, _ in asked}) for ms in sites(ROOT / name).values() for m in ms]
        mutants = [one for one in every if (one.path, one.line) in asked and is_python(changed_source(one, ROOT))]
    else:
        mutants = sampled(product(options.only), options.sample, options.seed)
    known = covering(options.fresh)
    started, survivors = time.monotonic(), []
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        folders: Queue[Path] = Queue()
        for number in range(options.jobs):
            folders.put(copy_of_checkout(Path(scratch) / str(number)))

        def tried(mutant: Mutant) -> bool:
            folder, tests = folders.get(), known.tests(mutant, options.seconds)
            try:
                return survives(mutant, folder, tests, sum(known.seconds.get(test, 1.0) for test in tests))
            finally:
                folders.put(folder)

        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                for mutant, survived in zip(mutants, pool.map(tried, mutants), strict=True):
                    verdict = "survived" if survived else "killed"
                    if survived and is_equivalent(mutant):
                        verdict = "equivalent"
                    elif survived:
                        survivors.append(mutant)
                    verdicts["/".join(mutant.path.split("/")[:-1][:2])][verdict] += 1
                    tests = known.tests(mutant, options.seconds)
                    print(f"{verdict:10} {mutant} ({len(tests)} tests, {time.monotonic() - started:.0f} s)", flush=True)
                    if survived:
                        print(change_of(mutant), flush=True)
            except BaseException:  # interrupted: the tests that run know nothing of it
                pool.shutdown(wait=False, cancel_futures=True)
                for process in tuple(RUNNING):
                    stop(process)
                raise
    print(f"{'':32}  killed  equivalent  survived")
    for area, counts in sorted(verdicts.items()):
        print(f"{area:32}{counts['killed']:8}{counts['equivalent']:12}{counts['survived']:10}")
    total = len(mutants)
    print(f"{total - len(survivors)} of {total} killed or equivalent, {len(survivors)} survived, "
          f"in {time.monotonic() - started:.0f} s")  # fmt: skip
    sys.exit(len(survivors) > total // 10)


def copy_of_checkout(target: Path) -> Path:
    """The files that git tracks, beside a link to the shared data where the checkout has it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (target / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / "checkout" / name)
    shared = ROOT.parent / "shared"
    if shared.exists():
        (target / "shared").symlink_to(shared)
    return target / "checkout"


if __name__ == "__main__":
    main()
