"""The documents say what is: links lead somewhere, commands and files exist, and the reference is what the code makes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

from scripts.reference import APPS, variables
from tests.support.chinese import faults

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
CHINESE = [each for each in DOCUMENTS if each.name == "README.zh-CN.md" or each.parent.name == "zh"]
GUIDES = [ROOT / "docs/production.md", ROOT / "docs/zh/production.md"]


def text_of(document: Path) -> str:
    return document.read_text()


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path, language: str = "sh") -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text_of(document), re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    lost = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(document)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_and_file_that_is_named_exists(document: Path) -> None:
    text = text_of(document)
    commands = set(re.findall(r"(?:release-server|manage\.py) ([a-z_]+)\b", text))
    files = set(re.findall(r"\b((?:packaging|scripts)/[\w./-]+\w)(?!-?\*|[\w./-])", text))
    assert commands - set(get_commands()) == set()
    assert {name for name in files if not (ROOT / name).exists()} == set()


def test_the_reference_is_what_the_code_makes() -> None:
    """Else run `make reference`."""
    done = subprocess.run([sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_every_variable_of_the_code_is_told() -> None:
    told = variables()
    known = {name for part in told.values() for name in part}
    sources = [path for app in APPS for path in (ROOT / app).rglob("*.py") if "demo" not in path.parts]
    read = {name for path in sources for name in re.findall(r'"(RELEASE_[A-Z_]+)"', path.read_text())}
    assert read - known == set()
    for document in DOCUMENTS:
        assert set(re.findall(r"\bRELEASE_[A-Z_]+[A-Z]\b", text_of(document))) - known - CLIENTS == set(), document


CLIENTS = {"RELEASE_URL", "RELEASE_TOKEN", "RELEASE_TOKEN_FILE", "RELEASE_SERVER"}  # and of scripts/dump.sh


def test_both_guides_have_the_same_commands() -> None:
    english, chinese = (blocks(guide) for guide in GUIDES)
    assert len(english) >= 8
    assert english == chinese


@pytest.mark.parametrize("guide", GUIDES, ids=name_of)
def test_what_a_step_needs_is_made_before_it(guide: Path) -> None:
    steps = "\n".join(blocks(guide))
    places = [steps.index(each) for each in ORDER]
    assert places == sorted(places)


# A block of the guide, then what it takes: an account, its key, the file that names the key, the code, the units, the probe.
ORDER = (
    "createdb", "useradd", "ssh-keygen", "RELEASE_SSH_KEY_FILE=", "install.sh", "/usr/local/bin/release-server", "doctor",
    "password", "packaging/systemd", "enable --now release-worker", "/readyz",
)  # fmt: skip


@pytest.mark.parametrize("document", CHINESE, ids=name_of)
def test_chinese_documents_are_written_by_the_houses_rules(document: Path) -> None:
    """Code and addresses are no Chinese."""
    text = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    prose = re.sub(r"`[^`]*`|https?://\S+", "◦", re.sub(r"\]\([^)]*\)|[*\[!]+", "", text))
    texts = [cell.strip(" #>-") for line in prose.split("\n") for cell in line.split("|")]
    assert [fault for each in texts for fault in faults(each)] == []
