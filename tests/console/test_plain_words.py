"""People read the field's own words, one for each concept; phrases that were taken out don't come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

BASE = Path(settings.BASE_DIR)
CATALOG = BASE / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
ENGLISH = (
    r"the world has moved", r"not ours", r"how it feels", r"again and again", r"soundly", r"died of it",
    r"put(s|ting)? back", r"goes back", r"under way", r"at work", r"in motion", r"mend(s|ed|ing)?",
    r"can['’]t be had", r"lately", r"(goes|went) first", r"g(ive|ives|ave|iving) way", r"hand(s|ed|ing)? (on|back)",
    r"truth", r"whole", r"rubbish", r"mou?ld", r"seal(s|ed)?", r"canary", r"lifeline", r"wake-up", r"reckoned",
    r"in ipv6 clothes", r"running it for real",
)  # fmt: skip
CHINESE = (
    r"(?<!队列)任务", r"个中完成", r"将会发生什么", r"按实例(?!、)", r"操作者", r"(?<!发布)包地址", r"人员", r"您", r"让位",
    r"[\u4e00-\u9fff]:",
)  # fmt: skip
_QUOTED = r'((?:".*"\n)+)'


def _texts(keyword: str) -> Iterator[str]:
    """All texts after `keyword` in the catalogue, with the lines of each joined."""
    for lines in re.findall(rf"^{keyword} {_QUOTED}", CATALOG.read_text(encoding="utf-8"), re.MULTILINE):
        yield "".join(line[1:-1] for line in lines.splitlines())


def _templates() -> Iterator[str]:
    for path in [*BASE.glob("templates/**/*.html"), *BASE.glob("*/templates/**/*.html")]:
        yield re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))


def _hits(phrase: str, texts: Iterator[str]) -> list[str]:
    found = re.compile(rf"(?<![\w-])(?:{phrase})(?![\w-])", re.IGNORECASE | re.ASCII)
    return [text for text in texts if found.search(text)]


@pytest.mark.parametrize("phrase", ENGLISH)
def test_no_phrase_that_was_replaced_comes_back_in_english(phrase: str) -> None:
    assert _hits(phrase, _texts(r"msgid(?:_plural)?")) == []
    assert _hits(phrase, _templates()) == []


@pytest.mark.parametrize("phrase", CHINESE)
def test_no_phrase_that_was_replaced_comes_back_in_chinese(phrase: str) -> None:
    assert [text for text in _texts(r"msgstr(?:\[0\])?") if re.search(phrase, text)] == []


def test_a_name_stands_in_a_chinese_sentence_without_a_hole() -> None:
    """“选择 实例 来修改”: no space between the sentence and the Chinese name of a model or filter."""
    names = r"%s|%\((?:name|model|verbose_name|verbose_name_plural|object_name|objects_name|filter_title)\)s"
    hole = re.compile(rf"[\u4e00-\u9fff] (?:{names})|(?:{names}) [\u4e00-\u9fff]")
    django = {text for text in _texts("msgstr") if re.search(r"%s|%\((?:model|verbose_name|object)", text)}
    assert django
    assert [text for text in django if hole.search(text)] == []
