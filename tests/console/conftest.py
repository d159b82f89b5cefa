"""A real browser on a live server. Every test that uses it also asserts that the browser complained of nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tests.support import demo_data
from tests.support.browser import Complaints, chromium, log_in, new_context


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    collected = Complaints()
    yield collected
    assert collected.unexpected == []


@pytest.fixture
def fleet(transactional_db: None) -> demo_data.Fleet:
    demo_data.people()
    return demo_data.small_fleet()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live_server: LiveServer, complaints: Complaints) -> Iterator[OpenPage]:
    """open_page(role="operator", dark=…, phone=…, language=…): a page of a new browser, logged in as that role."""
    contexts = []

    def opened(role: str = "operator", *, dark: bool = False, phone: bool = False, language: str = "en") -> Page:
        context = new_context(browser, base_url=live_server.url, dark=dark, phone=phone, language=language)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page)
        if role:
            log_in(page, role, demo_data.PASSWORD)
        return page

    yield opened
    for context in contexts:
        context.close()
