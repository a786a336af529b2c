"""Hook of mkdocs: the README, CONTRIBUTING and CHANGELOG become pages of the site, and links are set right for it.

The files are written to be read where they lie, in a checkout. On the site `docs/x.md` in the README is `x.md`, and a
link to a file of the code, which the site does not hold, becomes the file's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(docs/([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose text lies at the top level."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The page with the links of the site."""
    folder = ROOT if page.file.src_uri in PAGES.values() else ROOT / "docs"
    return LINK.sub(lambda link: _link(link, folder), IMAGE.sub(r"![\1](\2)", markdown))


def _link(link: re.Match[str], folder: Path) -> str:
    text, target = link.groups()
    path, _, anchor = target.partition("#")
    if "://" in target or not path:
        return link.group()
    file = (folder / path).resolve()
    name = file.relative_to(ROOT).as_posix()
    if not file.exists():
        return link.group()  # mkdocs warns of it, and --strict makes that an error
    if name in PAGES:
        name = f"docs/{PAGES[name]}"
    if name == "docs":
        return f"[{text}](index.md)"
    if not name.startswith("docs/"):
        return text if text.startswith("`") or text.endswith(name) else f"{text} (`{name}`)"
    return f"[{text}]({name.removeprefix('docs/')}{'#' + anchor if anchor else ''})"
