"""No page mixes languages: all that a page says, in its forms, refusals and errors too, is in the reader's language alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation

from tests.console.conftest import OpenPage
from tests.releasesite.admin_world import make_world
from tests.support import demo_data
from tests.support.chinese import HAN, catalogue, faults
from tests.support.demo_pages import PAGES
from tests.support.page_text import said

LANGUAGES = ("en", "zh-hans")
# Names of ours and of others, and what a person of the test's data wrote.
NAMES = ("简体中文", "English", "Payments time out since", "Standard Webhooks", "admin login admin", "OrmQ object")
CODES = {
    "Search",
    "None",
    "user",
    "deploys",
    "rollbacks",
    "service bank",
}  # as the audit, the queue and events keep them
ENGLISH = re.compile(r"\b[A-Za-z]{3,} [a-z]{2,}\b")
OPERATION = re.compile(r"\b(deploy|rollback) [\w.:-]+")
# A form that is refused: its page, and what is sent to it.
REFUSED: dict[str, dict[str, str]] = {
    "/deploy": {"step": "preview"},
    "/services/billing/hold": {},
    "/services/user-service/roll-back": {"to": "v0", "step": "start"},
    "/password": {"old_password": "wrong", "new_password1": "1", "new_password2": "2"},
    "/nowhere": {},
}
ERROR_PAGES: dict[str, dict[str, Any]] = {
    "400.html": {"wrong_host": "x.example.com", "allowed_hosts": "x.example.com"},
    "403.html": {}, "403_csrf.html": {"wrong_origin": "https://x.example.com"}, "404.html": {}, "500.html": {},
    "503.html": {"is_read_only": True}, "registration/locked.html": {},
    "registration/refused.html": {"told": ""}, "registration/logged_out.html": {"url": "/", "provider": "X"},
}  # fmt: skip


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reader(db: None, language: str) -> Client:
    """An admin who reads this language, over one of everything."""
    demo_data.people()
    demo_data.small_fleet()
    make_world()
    client = Client(headers={"accept-language": language})
    client.force_login(User.objects.get(username="admin"), "django.contrib.auth.backends.ModelBackend")
    return client


def test_a_page_is_in_one_language(reader: Client, language: str) -> None:
    """Refused forms are pages, too."""
    paths = [*PAGES.values(), *_admin_pages()]
    assert len(paths) > 80
    answers = {path: reader.get(path, follow=True) for path in paths}  # the history of a thing is its audit
    assert {answer.status_code for answer in answers.values()} <= {200, 403, 404}
    forms = {**REFUSED, **{path: {} for path in paths if path.endswith("/add/")}}
    answers |= {f"POST {path}": reader.post(path, form) for path, form in forms.items()}
    answers["log in"] = Client(headers={"accept-language": language}).post("/login", {"username": "x"})
    found = _strangers({path: answer.content.decode() for path, answer in answers.items()}, language)
    assert found == {}, "\n".join(f"{path}: {texts}" for path, texts in found.items())


def test_an_error_page_is_in_one_language(language: str) -> None:
    with translation.override(language):
        request = RequestFactory().get("/")
        pages = {name: render_to_string(name, context, request) for name, context in ERROR_PAGES.items()}
    assert _strangers(pages, language) == {}


def _admin_pages() -> Iterator[str]:
    """All that there is: lists, empty forms, and of one row of each its form, its history and the question before deleting.

    What nobody may add or delete answers with the page that says so.
    """
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        yield from _pages_of_a_row(model, name)


def _pages_of_a_row(model: type[Model], name: str) -> Iterator[str]:
    row = model._default_manager.order_by("-pk").first()
    if row is None:
        return
    for page in ("change", "history", "delete"):
        yield reverse(f"{name}_{page}", args=[row.pk])


def _strangers(pages: Mapping[str, str], language: str) -> dict[str, list[str]]:
    """By page, what it says in the other language."""
    english = {key for key, text in catalogue("django.mo").items() if key != text and "%(" not in key}

    def is_strange(text: str) -> bool:
        text = OPERATION.sub("", text)
        if any(name in text for name in NAMES) or text in CODES:
            return False
        if language == "en":
            return HAN.search(text) is not None
        return text in english or ENGLISH.search(text) is not None

    found = {path: sorted({text for text in said(page, language) if is_strange(text)}) for path, page in pages.items()}
    return {path: texts for path, texts in found.items() if texts}


@pytest.mark.parametrize("code", ["en", "zh"])
def test_times_have_one_form_in_both_languages(fleet: demo_data.Fleet, open_page: OpenPage, code: str) -> None:
    """The script's, too; and an age in Chinese has its space: 5 分钟前."""
    page = open_page(language=code)
    page.goto(PAGES["operation-failed"])
    full = page.locator("time[data-as=full]").all_text_contents()
    page.goto(PAGES["history"])
    ages = page.locator("time[data-as=age]").all_text_contents()

    assert full
    assert ages
    assert {text for text in full if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)} == set()
    assert [fault for text in ages for fault in faults(text)] == []
