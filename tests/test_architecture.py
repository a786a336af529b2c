"""The rules of the architecture, read from the source: who imports whom, what is never imported, what stands where."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "generation": set[str](),
    "index_store": set[str](),
    "retrieval": {"generation", "index_store"},
    "ui": {"generation", "index_store", "retrieval"},
}
"""Each top-level package, and which others it may import."""
LAYERS = {
    "generation": [
        {"atomic_write", "cluster_interval", "csv_text", "errors", "worker_pool"},
        {"provenance", "phantom"},
        {"prompts"},
        {"model"},
        {"cache", "importing", "jobs", "options"},
        {"generator"},
        {"training"},
    ],
    "index_store": [
        {"atomic_write", "errors", "scale", "slide_records"},
        {"records", "vectors"},
        {"archive_status"},
        {"files"},
        {"manifest", "slides"},
        {"catalog", "index"},
        {"search"},
        {"maintenance", "milvus"},
        {"vector_engines"},
        {"archive_columns"},
        {"archive_queries"},
        {"archive_maintenance"},
        {"archive"},
    ],
    "retrieval": [
        {"arrays", "errors", "notice"},
        {"copies", "encoder", "language", "statistics"},
        {"generated", "ingest"},
        {"search"},
        {"assessment"},
        {"audit", "evaluation", "reader_study"},
        {"synthetic", "training"},
    ],
    "ui": [
        {"errors", "image_labels"},
        {"settings"},
        {"archive_encoders", "generation_queue"},
        {"service"},
        {"model_check"},
        {"pictures", "text"},
        {"serving"},
        {"review"},
        {"html"},
        {"commands", "view"},
        {"cli"},
        {"__main__"},
    ],
}
"""Within each, from low to high: a module may import what stands above its own line here, and its own sub-package.
Those on one line do not import each other."""
HEAVY = [
    "openslide",
    "pydicom",
    "wsidicom",
    "torch",
    "faiss",
    "diffusers",
    "transformers",
    "open_clip",
    "streamlit",
    "peft",
    "scipy",
    "pandas",
]
PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
TOP_LEVEL = {
    *PACKAGES,
    "tests",
    "benchmarks",
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "mkdocs.yml",
    "pyproject.toml",
    "requirements.lock",
    "requirements-macos13.lock",
    "README.md",
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every part of it: many rules look at all of them."""
    return tuple(ast.walk(tree))


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every module named by an import, wherever it stands. None is relative."""
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module or ""


def dotted(node: ast.expr) -> str:
    """`torch.load` for that expression; "" for one that is no plain name."""
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_downwards_only(package: str) -> None:
    allowed = PACKAGES[package] | {package}
    strangers = {*PACKAGES, "tests", "benchmarks"} - allowed
    found = [
        f"{where(path, node)} imports {name}"
        for path in sources(package)
        for node, name in imports(parse(path))
        if name.partition(".")[0] in strangers
    ]
    assert sources(package), f"the package {package} is empty"
    assert found == []


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def module_imports() -> dict[str, dict[str, str]]:
    """For each module of the packages the modules that it imports, with where; also those under TYPE_CHECKING."""
    paths = {module_name(path): path for path in sources(*PACKAGES)}
    found: dict[str, dict[str, str]] = {}
    for module, path in paths.items():
        found[module] = {}
        for node in nodes(parse(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):  # of a package: the sub-module, where the name is one
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in paths else str(node.module) for name in whole]
            found[module] |= {name: where(path, node) for name in names if name in paths and name != module}
    return found


def layer_of(module: str) -> tuple[int, str]:
    """The layer of a module, and the sub-package (or root module) that it belongs to."""
    package, _, rest = module.partition(".")
    part = rest.partition(".")[0]
    return next(number for number, layer in enumerate(LAYERS[package]) if part in layer), part


def test_every_module_has_a_layer() -> None:
    placed = {f"{package}.{part}" for package, layers in LAYERS.items() for layer in layers for part in layer}
    there = {".".join(module.split(".")[:2]) for module in module_imports() if "." in module}
    assert there == placed


def test_imports_within_a_package_run_downwards_only() -> None:
    found = [
        f"{place} imports {other}"
        for module, others in module_imports().items()
        for other, place in others.items()
        if "." in module and "." in other and module.split(".")[0] == other.split(".")[0]
        if layer_of(module)[1] != layer_of(other)[1] and layer_of(other)[0] >= layer_of(module)[0]
    ]
    assert found == []


def test_no_module_imports_the_public_names_of_its_own_package() -> None:
    """They come from every layer: what is imported by them would escape the rules above."""
    found = [
        f"{place} imports {other}"
        for module, others in module_imports().items()
        for other, place in others.items()
        if "." in module and other == module.partition(".")[0]
    ]
    assert found == []


def test_ui_uses_the_public_names_of_the_other_packages() -> None:
    """So that a sub-package can be rearranged without a change to `ui`. Imports under TYPE_CHECKING count."""
    others = PACKAGES["ui"]
    found = [
        f"{where(path, node)} imports {name}"
        for path in sources("ui")
        for node, name in imports(parse(path))
        if name.partition(".")[0] in others and "." in name
    ]
    assert found == []


GENERATED_MEANS = {
    "retrieval.assessment.json_export": "a field of `GeneratedImageCheck`",
    "retrieval.reader_study.create": "an image that a program made, and what a reader may guess",
    "retrieval.reader_study.ratings": "the same",
    "retrieval.reader_study.results": "the same",
    "retrieval.reader_study.study": "the same",
    "ui.text.evaluation.reading": "the same",
    "ui.view.reading.page": "the same",
    "ui.view.reading.results": "the same",
    "ui.pictures.synthetic_sheet": "the same",
    "ui.commands.archive": "a key of JSON: cached images that were deleted",
    "ui.commands.calibrate": "a key of JSON: how images are generated",
    "ui.commands.demo": "a folder's name",
    "ui.settings": "a folder's name",
}
"""Modules in which the word is no channel's name."""


def names_a_channel(node: ast.AST, names: set[str]) -> bool:
    """Whether a channel is told from others by its name: compared, looked up, given, or listed with others. (The names
    "image" and "report" are also columns, roles and keys of JSON.)"""

    def literals(*parts: ast.AST | None) -> set[str]:
        inside = [each for part in parts if part is not None for each in ast.walk(part)]
        return {each.value for each in inside if isinstance(each, ast.Constant) and isinstance(each.value, str)} & names

    def of_channels(*parts: ast.expr) -> bool:
        return any("channel" in ast.unparse(part).lower() for part in parts)

    match node:
        case ast.Compare(left=left, comparators=others):
            return of_channels(left, *others) and bool(literals(left, *others))
        case ast.Subscript(value=value, slice=key):
            return of_channels(value) and bool(literals(key))
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[key, *_]):
            return of_channels(value) and bool(literals(key))
        case ast.keyword(arg="channel" | "channels", value=value):
            return bool(literals(value))
        case ast.Dict(keys=keys):
            return len(literals(*keys)) > 2
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return len(literals(*parts)) > 2
    return False


def test_a_channel_is_named_in_its_own_package_only() -> None:
    """Others ask the `Channel`, so that a new one is a module and a line of the registry."""
    names = set(importlib.import_module("retrieval").CHANNELS)
    for example in ('x.channel == "image"', 'c in ("image",)', 'channels["report"]', 'f(channels=("report",))'):
        (line,) = ast.parse(example.replace("c in", "channel in")).body
        assert any(names_a_channel(node, names) for node in ast.walk(line)), example
    found, generated = [], set()
    for path in sources("retrieval", "ui"):
        if path.is_relative_to(ROOT / "retrieval/search/channels"):
            continue
        for node in nodes(parse(path)):
            if names_a_channel(node, names):
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '')}")
            elif isinstance(node, ast.Constant) and node.value in names - {"image", "report"}:
                generated.add((module_name(path), node.value))
    assert found == []
    assert generated == {(module, "generated") for module in GENERATED_MEANS}


@pytest.mark.slow
def test_benchmarks_use_the_public_names_where_there_are_any() -> None:
    """What they measure inside of a package has none."""
    public = {
        (package, f"{package}.{node.module}", alias.asname or alias.name)
        for package in PACKAGES
        if (stub := ROOT / package / "__init__.pyi").is_file()
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert len(public) > 100
    found = [
        f"{where(path, node)} imports {alias.name} of {node.module}"
        for path in sources("benchmarks")
        for node in nodes(parse(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if (node.module.partition(".")[0], node.module, alias.name) in public
    ]
    assert found == []


def test_what_made_the_starter_is_imported_by_nothing_else() -> None:
    """It stays in the checkout and is not in the wheel."""
    found = [
        f"{place} imports {other}"
        for module, others in module_imports().items()
        for other, place in others.items()
        if ".training.starter" in other and ".training.starter" not in module
    ]
    assert found == []


def test_no_module_imports_itself_by_a_detour() -> None:
    imported = {module: set(others) for module, others in module_imports().items()}
    while leaves := {module for module, others in imported.items() if not others & imported.keys()}:
        imported = {module: others for module, others in imported.items() if module not in leaves}
    assert sorted(imported) == [], "a circle is among these modules (or they lead to it)"


def test_a_folder_holds_at_most_fifteen_modules() -> None:
    """`ui/commands` may hold more: a module a command."""
    folders = Counter(path.parent.relative_to(ROOT) for path in sources(*PACKAGES) if path.stem != "__init__")
    assert {str(folder): n for folder, n in folders.items() if n > 15 and folder != Path("ui/commands")} == {}


def test_tests_stand_where_their_package_does() -> None:
    """Each folder of tests is a package of the product, and what is named as one module alone stands in its folder."""
    folders = {
        path.relative_to(ROOT / "tests") for package in PACKAGES for path in (ROOT / "tests" / package).rglob("*")
    }
    tests = {path for path in folders if path.match("test_*.py")}
    packages = {path.parent.relative_to(ROOT) for path in sources(*PACKAGES) if path.stem == "__init__"}
    assert {test.parent for test in tests} - packages == set()
    of_name: dict[str, set[Path]] = {}
    for path in sources(*PACKAGES):
        of_name.setdefault(path.stem, set()).add(path.parent.relative_to(ROOT))
    strays = []
    for test in tests:
        name, homes = test.stem.removeprefix("test_"), of_name.get(test.stem.removeprefix("test_"), set())
        # `ui/view/test_view.py` is of that package.
        if len(homes) == 1 and test.parent not in homes and name != test.parent.name:
            strays.append(str(test))
    assert len(tests) > 100
    assert strays == []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_are_absolute(package: str) -> None:
    found = [
        where(path, node)
        for path in sources(package)
        for node in nodes(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_importing_the_packages_loads_nothing_heavy() -> None:
    program = f"import json, sys, {', '.join(PACKAGES)}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(json.loads(run.stdout)) & set(HEAVY) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_resolves(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_nothing_is_unpickled_but_by_the_import() -> None:
    """Which does so in a process of its own, and admits nothing but tensors and plain values."""
    reader = ROOT / "generation/model/pickled_child.py"
    calls = [node for node in nodes(parse(reader)) if isinstance(node, ast.Call) and dotted(node.func) == "torch.load"]
    assert calls
    for call in calls:
        assert any(keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True" for keyword in call.keywords)
    assert "generation.model.pickled_child" not in {name for found in module_imports().values() for name in found}
    found = []
    for path in sources(*PACKAGES, "benchmarks"):
        tree = parse(path)
        found += [where(path, node) for node, name in imports(tree) if name.partition(".")[0] in PICKLING]
        for node in nodes(tree):
            if not isinstance(node, ast.Call):
                continue
            allows = any(
                keyword.arg == "allow_pickle"
                and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                for keyword in node.keywords
            )
            loads = dotted(node.func) == "torch.load" and path != reader
            if allows or loads or dotted(node.func) in {"torch.save", "pd.read_pickle"}:
                found.append(where(path, node))
    assert found == []


def test_no_text_is_shown_as_html() -> None:
    found = [
        where(path, node.value)
        for path in sources(*PACKAGES)
        for node in nodes(parse(path))
        if isinstance(node, ast.keyword) and node.arg == "unsafe_allow_html"
    ]
    assert found == []


TAGS = re.compile(
    r"(?<!\?P)</?(?:!doctype|html|head|body|style|script|title|section|div|p|span|a|b|i|h[1-6]|ul|ol|li|br|img|table|tr|td|th"
    r"|details|summary|svg|g|line|rect|circle|path|polyline|text)[\s/>]",
    re.IGNORECASE,
)


def test_html_is_written_by_templates_only() -> None:
    """With autoescape, in one place: no string of the product holds a tag, and nothing is declared safe."""
    for example in ('<td class="x">', "</div>", "<svg ", "<!DOCTYPE html>"):
        assert TAGS.search(example)
    found = [
        where(path, node)
        for path in sources(*PACKAGES)
        for node in nodes(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TAGS.search(node.value)
    ]
    rendering = ROOT / "ui/html/rendering.py"
    for path in sources(*PACKAGES):
        tree = parse(path)
        found += [where(path, node) for node, name in imports(tree) if name.partition(".")[0] == "markupsafe"]
        if path.is_relative_to(ROOT / "ui") and path != rendering:
            found += [where(path, node) for node, name in imports(tree) if name.partition(".")[0] == "jinja2"]
    for path in (ROOT / "ui/html/templates").iterdir():
        assert not re.search(r"\|\s*safe|autoescape", path.read_text(encoding="utf-8")), path.name
    assert found == []
    assert "autoescape=True" in rendering.read_text(encoding="utf-8")


def test_the_top_level_stays_small() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {path.partition("/")[0] for path in listed.stdout.splitlines()} - TOP_LEVEL == set()


MUTABLE = {"Importing", "JpegHeader", "Job", "Table", "_Checking", "_Found", "_Open", "_Worker"}
"""What is filled as it goes, within one call."""


def test_records_are_frozen() -> None:
    """What crosses a boundary cannot be changed on the other side; threads share it."""
    made = {
        (node.name, where(path, node)): "frozen=True" in ast.unparse(decorator)
        for path in sources(*PACKAGES)
        for node in nodes(parse(path))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).partition("(")[0] in ("dataclass", "dataclasses.dataclass")
    }
    assert len(made) > 100
    assert {name for (name, _), is_frozen in made.items() if not is_frozen} == MUTABLE


OF_DIFFERENT_LENGTH = {
    "index_store.manifest.table_file": "a row may have fewer cells than there are columns",
    "index_store.manifest.workbook": "the same",
    "retrieval.evaluation.encoder_comparison.compare": "a single site is not shown apart",
    "retrieval.ingest.identifiers": "the last digit of a number is the check digit",
    "retrieval.language.query_text": "a token and the one before it",
}
"""Modules that join sequences of different length, and why they differ."""


def test_what_is_joined_is_of_one_length() -> None:
    """A sequence that is too short is an error, and not a result with something missing."""
    loose = {
        module_name(path)
        for path in sources(*PACKAGES)
        for node in nodes(parse(path))
        if isinstance(node, ast.Call) and dotted(node.func) == "zip" and "strict=True" not in ast.unparse(node)
    }
    assert loose == set(OF_DIFFERENT_LENGTH)


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {"utils", "util", "common", "core", "helpers", "misc"}
    assert [path for path in sources(*PACKAGES) if names & {path.stem, path.parent.name}] == []
