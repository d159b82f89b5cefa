"""The version stands in one place, and is shown where people look for it."""

from __future__ import annotations

import pytest
from django.test import Client
from rest_framework.test import APIClient

from releasesite import __version__
from tests.support.api import caller, logged_in, person

pytestmark = pytest.mark.django_db


def test_probe_document_and_the_foot_of_each_page_name_it() -> None:
    assert APIClient().get("/healthz").json()["version"] == __version__
    assert caller("read").get("/v1/schema").json()["info"]["version"] == __version__
    assert f"Version {__version__}" in logged_in(person("viewer")).get("/").content.decode()


def test_a_stranger_is_shown_no_version_on_a_page() -> None:
    assert f"Version {__version__}" not in Client().get("/login").content.decode()
