from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from deploys.packages import artifact_links
from deploys.packages.archive.repack import Repacked
from deploys.packages.errors import PackageError
from deploys.packages.store import PackageStore

SHA256 = "ab" * 32


@pytest.fixture(autouse=True)
def known_address(settings: Settings, tmp_path: Path) -> None:
    settings.PUBLIC_URL = "http://testserver"
    settings.DATA_DIR = tmp_path


def stored(content: bytes) -> None:
    store = PackageStore.of_this_host()
    with store.room(), store.draft() as (file, draft):
        file.write(content)
        file.flush()
        repacked = Repacked(artifact_sha256="cd" * 32, artifact_bytes=len(content))
        store.publish(draft, sha256=SHA256, size_bytes=len(content), repacked=repacked)


def get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    answer = APIClient().get(f"{parts.path}?{parts.query}")
    return answer.status_code, answer.getvalue()


def test_a_link_of_ours_gives_the_artifact_without_a_token_or_a_database() -> None:
    stored(b"packed")

    assert get(artifact_links.artifact_url(SHA256)) == (200, b"packed")


def test_what_this_host_does_not_have_is_not_found_and_says_what_to_do() -> None:
    status, body = get(artifact_links.artifact_url(SHA256))

    assert status == 404
    assert b'"artifact_not_here"' in body


def test_an_expired_link_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stored(b"packed")
    monkeypatch.setattr(artifact_links, "VALID_SECONDS", -1)

    status, body = get(artifact_links.artifact_url(SHA256))

    assert status == 403
    assert b'"link_expired"' in body


@pytest.mark.parametrize("part", ["sha256", "expires", "signature", "nothing", "everything"])
def test_a_link_that_was_tampered_with_is_refused(part: str) -> None:
    stored(b"packed")
    query = {key: values[0] for key, values in parse_qs(urlsplit(artifact_links.artifact_url(SHA256)).query).items()}
    changed = {
        "sha256": ("12" * 32, query["expires"], query["signature"]),
        "expires": (SHA256, str(int(query["expires"]) + 1), query["signature"]),
        "signature": (SHA256, query["expires"], query["signature"][:-2]),
        "nothing": (SHA256, query["expires"], ""),
        "everything": (SHA256, "\u0664" * 400, "\u53d1\u5e03:"),
    }
    sha256, expires, signature = changed[part]

    answer = APIClient().get(f"/v1/artifacts/{sha256}", {"expires": expires, "signature": signature})

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "link_invalid"


def test_without_the_address_of_our_web_there_is_no_link(settings: Settings) -> None:
    settings.PUBLIC_URL = ""

    with pytest.raises(PackageError, match="RELEASE_PUBLIC_URL") as caught:
        artifact_links.artifact_url(SHA256)

    assert caught.value.code == "package_unreachable"
