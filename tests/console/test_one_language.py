"""No page mixes languages: in Chinese, no text of ours stands there in English."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

from django.conf import settings
from playwright.sync_api import Page

from tests.console.conftest import OpenPage
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet
from tests.support.screenshots import PAGES

CATALOG = Path(settings.BASE_DIR) / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.mo"
ADMIN = (
    "inventory/service/add/", "inventory/service/import-yaml/",
    "inventory/node/", "inventory/node/add/", "inventory/instance/add/", "inventory/statuschange/",
    "inventory/auditentry/", "deploys/deploy/", "deploys/target/", "deploys/package/", "deploys/worker/",
    "deploys/webhook/", "deploys/webhook/add/", "deploys/webhookdelivery/",
    "rollbacks/rollback/", "releasesite/apitoken/", "releasesite/apitoken/add/", "auth/user/", "auth/user/add/",
    "auth/group/", "axes/accessattempt/",
)  # fmt: skip
# Shown texts and spoken ones; what is marked as English (log lines, a node's own words) and code may be English.
TEXTS = """() => {
    const found = [];
    const english = '[lang=en], .mono, code, .log-lines, .error-text, .tag, kbd, script, style, noscript, [type=hidden]';
    const isEnglish = (node) => node.closest(english);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        if (!isEnglish(walker.currentNode.parentElement)) found.push(walker.currentNode.textContent.trim());
    }
    for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
        if (isEnglish(element)) continue;
        for (const name of ['aria-label', 'title', 'placeholder']) found.push(element.getAttribute(name) || '');
    }
    return found.filter(Boolean);
}"""


def _english() -> set[str]:
    """Our own texts that say something else in Chinese."""
    with CATALOG.open("rb") as file:
        catalog: dict[object, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    keys = {key[0] if isinstance(key, tuple) else key: text for key, text in catalog.items()}
    plain = {str(key).split("\x04")[-1]: text for key, text in keys.items()}
    return {key for key, text in plain.items() if key and key != text and "%(" not in key}


def _strangers(page: Page, english: set[str]) -> list[str]:
    texts: list[str] = page.evaluate(TEXTS)
    # Two or more English words in a row, or a text of ours: names of services, versions and people are single words.
    sentence = re.compile(r"\b[A-Za-z]{3,} [a-z]{2,}\b")
    operation = re.compile(r"(deploy|rollback) [\w.:-]+")
    return [text for text in texts if (text in english or sentence.search(text)) and not operation.fullmatch(text)]


def test_no_page_is_half_english_in_chinese(fleet: Fleet, open_page: OpenPage, complaints: Complaints) -> None:
    complaints.expected = ("404 (Not Found)",)
    english = _english()
    assert "Roll back" in english
    page = open_page("admin", language="zh")
    found = {}
    reason = "Payments time out since"  # a person wrote it
    for path in (*PAGES.values(), *(f"/admin/{path}" for path in ADMIN)):
        page.goto(path)
        strangers = [text for text in _strangers(page, english) if not text.startswith(reason)]
        if strangers:
            found[path] = strangers
    assert found == {}
