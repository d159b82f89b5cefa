"""For mkdocs: what stands beside docs/ in the repository is found from the site as well.

CHANGELOG.md becomes a page; links to other files of the repository become links to REPOSITORY_URL, or plain text without one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CHANGELOG.md",)
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links within docs/ stay, and are checked by mkdocs; those out of it are checked here."""
    folder = (ROOT / "docs" / page.file.src_uri).parent
    if page.file.src_uri in PAGES:
        return markdown.replace("](docs/", "](")
    return _LINK.sub(lambda link: _outside(link, folder), markdown)


def _outside(link: re.Match[str], folder: Path) -> str:
    text, up, name, anchor = link.groups()
    target = (folder / f"{up}{name}").resolve()
    if target.is_relative_to(ROOT / "docs"):
        return link[0]
    if not target.exists():
        raise FileNotFoundError(f"{folder}: {link[0]} leads to nothing")
    if name in PAGES:
        return f"[{text}]({up.removesuffix('../')}{name}{anchor or ''})"
    base = os.environ.get("REPOSITORY_URL", "")
    return f"[{text}]({base.rstrip('/')}/{target.relative_to(ROOT)}{anchor or ''})" if base else text
