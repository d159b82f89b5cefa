"""A status change names its operation by kind and id; the pages lead there."""

from __future__ import annotations

import pytest
from django.utils import translation

from deploys.templatetags.operation_links import operation_link


def test_it_leads_to_the_operation_in_the_readers_language() -> None:
    with translation.override("zh-hans"):
        link = operation_link("rollback r-1")

    assert link == '回滚 <a class="link mono" href="/rollbacks/r-1">r-1</a>'


@pytest.mark.parametrize("name", ["", "sync", "sync r-1", "deploy", "deploy <b>", "report of web-1"])
def test_what_is_no_operation_is_shown_as_it_is(name: str) -> None:
    assert operation_link(name) == name
