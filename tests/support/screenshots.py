# ruff: noqa: E402 - Django is set up before its models are imported
"""`make screenshots`: a picture of every page, light and dark, wide and phone, in both languages.

python -m tests.support.screenshots [part of a name …]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test.testcases import LiveServerThread
from django.test.utils import setup_databases, setup_test_environment, teardown_databases
from playwright.sync_api import Page

from tests.support import demo_data
from tests.support.browser import Complaints, chromium, log_in, new_context

FOLDER = Path(settings.BASE_DIR) / "docs" / "screenshots"
MOST_HEIGHT = 1500
VARIANTS = (("wide", False), ("phone", True))
PAGES: dict[str, str] = {
    "overview": "/",
    "service": "/services/user-service",
    "service-drifted": "/services/search-api",
    "operation-running": "/deploys/deploy-2026-11-23-0142",
    "operation-failed": "/deploys/deploy-2026-11-23-checkout",
    "operation-rollback": "/rollbacks/rollback-5f2c9a7714d0be31",
    "operation-superseded": "/deploys/deploy-2026-11-22-checkout",
    "roll-back": "/services/user-service/roll-back?deploy=deploy-2026-11-23-0142",
    "roll-back-none": "/services/recommendations/roll-back",
    "deploy": "/deploy?service=user-service",
    "deploy-preview": "/deploy?service=billing",
    "hold": "/services/billing/hold",
    "history": "/history",
    "instance": "/instances/checkout-2",
    "node": "/nodes/checkout-node-1",
    "search": "/search?q=checkout",
    "adopt": "/services/billing/adopt",
    "adopted-instance": "/instances/billing-1",
    "operation-log": "/deploys/deploy-2026-11-23-checkout?line=70#L70",
    "password": "/password",
    "not-found": "/nowhere",
    "admin": "/admin/",
    "admin-instances": "/admin/inventory/instance/",
    "admin-services": "/admin/inventory/service/",
}


@contextmanager
def server() -> Iterator[str]:
    """A server over a database of its own, filled with the small fleet."""
    setup_test_environment()
    old = setup_databases(verbosity=0, interactive=False)
    demo_data.people()
    demo_data.small_fleet()
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()
        connections.close_all()
        teardown_databases(old, verbosity=0)


def main(wanted: list[str]) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    complaints = Complaints(expected=("404 (Not Found)",))
    with server() as url, chromium() as browser:
        for language in ("en", "zh"):
            for dark in (False, True):
                for size, phone in VARIANTS:
                    if language == "zh" and dark != phone:
                        continue  # in Chinese light when wide, dark on the phone: the layout is the same
                    suffix = f"{language}-{'dark' if dark else 'light'}-{size}"
                    context = new_context(browser, base_url=url, dark=dark, phone=phone, language=language)
                    page = context.new_page()
                    complaints.watch(page)
                    if _is_wanted("login", suffix, wanted):
                        page.goto("/login")
                        _shoot(page, "login", suffix)
                    log_in(page, "admin", demo_data.PASSWORD)
                    for name, path in PAGES.items():
                        if _is_wanted(name, suffix, wanted):
                            page.goto(path)
                            _prepare(page, name)
                            _shoot(page, name, suffix)
                    context.close()
    for text in complaints.unexpected:
        print(text, file=sys.stderr)
    return 1 if complaints.unexpected else 0


def _is_wanted(name: str, suffix: str, wanted: list[str]) -> bool:
    return not wanted or all(part in f"{name}-{suffix}" for part in wanted)


def _prepare(page: Page, name: str) -> None:
    if name == "deploy-preview":
        page.fill("#id_version", "v5.3.0")
        page.fill("#id_package_url", "https://packages.example.com/billing/v5.3.0.tar.gz")
        page.click("main form button.btn-primary")
        page.wait_for_selector("text=v5.3.0")


def _shoot(page: Page, name: str, suffix: str) -> None:
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    height = page.evaluate("document.documentElement.scrollHeight")
    width = page.viewport_size["width"] if page.viewport_size else 1440
    # The whole page, up to a height: what sticks to an edge then does so at the page's end, not in its middle.
    size = page.viewport_size
    page.set_viewport_size({"width": width, "height": max(700, min(height, MOST_HEIGHT))})
    path = FOLDER / f"{name}-{suffix}.png"
    page.screenshot(path=path)
    if quantizer := shutil.which("pngquant"):
        subprocess.run([quantizer, "--force", "--skip-if-larger", "--ext", ".png", "128", str(path)], check=False)
    if size:
        page.set_viewport_size(size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
