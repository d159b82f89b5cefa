from __future__ import annotations

import gettext
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from releasesite import third_party_words
from tests.support.chinese import HAN, MESSAGES, catalogue, faults, hole_faults

# Names of things, and one of Django's that is a symbol.
SAME_IN_BOTH = {"SHA-256", "JSON", "HTTP Accept"}
# Their holes are filled with our Chinese names of models, fields and kinds.
CHINESE_IN_HOLES = re.compile(r"%\((kind|name|verbose_name|model|what|how)\)s|\{(name|fields)\}|%s")


def _entries(path: Path, *options: str) -> str:
    done = subprocess.run(["msgattrib", *options, str(path)], capture_output=True, text=True, check=True)
    return done.stdout


def test_nothing_is_left_untranslated_or_fuzzy() -> None:
    assert _entries(MESSAGES / "django.po", "--untranslated") == ""
    assert _entries(MESSAGES / "django.po", "--only-fuzzy") == ""


def test_the_compiled_file_is_fresh(tmp_path: Path) -> None:
    subprocess.run(
        ["msgfmt", "--check-format", "-o", str(tmp_path / "django.mo"), str(MESSAGES / "django.po")], check=True
    )
    with (tmp_path / "django.mo").open("rb") as fresh, (MESSAGES / "django.mo").open("rb") as kept:
        assert gettext.GNUTranslations(kept)._catalog == gettext.GNUTranslations(fresh)._catalog  # type: ignore[attr-defined]


def test_every_string_of_the_source_is_in_the_file(tmp_path: Path) -> None:
    """As `make messages` finds them, over a copy: it writes beside what it reads."""
    (tmp_path / "locale").mkdir()
    for name in ("inventory", "deploys", "rollbacks", "releasesite", "templates"):
        (tmp_path / name).symlink_to(Path(settings.BASE_DIR) / name)
    (tmp_path / "only_locale.py").write_text(
        "SECRET_KEY = 'x'\nUSE_I18N = True\nINSTALLED_APPS = []\nLOCALE_PATHS = ['locale']\n"
        "STATIC_ROOT = MEDIA_ROOT = ''\n"
    )
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale=zh_Hans", "--symlinks"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "only_locale"},
        check=True,
        capture_output=True,
    )
    found = _ids(tmp_path / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po")
    assert len(found) > 100
    assert found - _ids(MESSAGES / "django.po") == set()


def _ids(path: Path) -> set[str]:
    blocks = re.findall(r'^msgid ((?:".*"\n)+)', path.read_text(), re.MULTILINE)
    return {"".join(line.strip()[1:-1] for line in block.splitlines()) for block in blocks}


@pytest.mark.parametrize("word", ["发布", "回滚", "实例", "节点", "调度系统", "发布包", "切换"])
def test_the_glossarys_words_are_used(word: str) -> None:
    assert word in (MESSAGES / "django.po").read_text()


@pytest.mark.parametrize("name", ["django.mo", "djangojs.mo"])
def test_chinese_is_written_by_the_houses_rules(name: str) -> None:
    """Full-width punctuation, a space at Latin letters and digits, 你, and one word for each thing."""
    assert [fault for text in catalogue(name).values() for fault in faults(text)] == []


def test_names_in_sentences_have_a_space_beside_them() -> None:
    """Not so where Chinese fills the hole, as in most sentences of the admin."""
    theirs = {str(text) for text in third_party_words.DJANGO}
    ours = {key: text for key, text in catalogue("django.mo").items() if key not in theirs and not _is_plural(key)}
    assert [
        fault for key, text in ours.items() if not CHINESE_IN_HOLES.search(key) for fault in hole_faults(text)
    ] == []


def _is_plural(key: str) -> bool:
    """Of Django's sentences that count: ours have the count with a space, too."""
    return "%(items)s" in key or "%(object" in key


def test_every_text_says_it_in_chinese() -> None:
    """Where it has words: what is the same in both languages is a name."""
    same = {key for key, text in catalogue("django.mo").items() if key == text and re.search("[A-Za-z]{2}", key)}
    assert same - SAME_IN_BOTH == set()
    assert HAN.search(catalogue("django.mo")["Roll back"])
