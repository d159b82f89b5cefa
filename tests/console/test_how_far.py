"""A deploy that only checks or only stages, asked for at the console, and what its pages say of it."""

from __future__ import annotations

import pytest
from django.db.models.functions import Now
from playwright.sync_api import expect

from deploys.models import Operation
from deploys.states import OperationStatus, TargetStatus, Until
from tests.console.conftest import OpenPage
from tests.console.test_accessibility import violations
from tests.support.demo_data import Fleet

LABELS = {Until.CHECKED: ("Check only", "Check"), Until.STAGED: ("Stage only", "Stage")}


@pytest.mark.parametrize("until", [Until.CHECKED, Until.STAGED])
def test_it_says_everywhere_that_nothing_is_switched(fleet: Fleet, open_page: OpenPage, until: Until) -> None:
    choice, verb = LABELS[until]
    page = open_page("operator")
    page.goto("/deploy?service=billing")
    page.get_by_label("Version").fill("v6")
    page.get_by_label("Package URL").fill("https://packages.example.com/b.tar.gz")
    expect(page.get_by_label("Switch")).to_be_checked()
    page.get_by_label(choice).check()
    assert violations(page) == []
    page.get_by_role("button", name="Preview the deploy").click()

    expect(page.get_by_role("heading", name=f"{verb} v6 for billing")).to_be_visible()
    expect(page.get_by_text("nothing is switched")).to_be_visible()
    expect(page.locator(".move-list")).to_have_count(0)
    page.get_by_role("button", name=f"{verb} v6 on").click()

    expect(page.get_by_role("heading", name=f"{verb} v6 for billing")).to_be_visible()
    expect(page.get_by_role("button", name="Stop and roll back…")).to_have_count(0)
    operation = Operation.objects.get(version="v6")
    assert operation.until == until

    operation.targets.update(status=TargetStatus.COMPLETED, finished_at=Now(), updated_at=Now())
    Operation.objects.filter(pk=operation.pk).update(
        status=OperationStatus.COMPLETED, completed=operation.total, finished_at=Now()
    )
    page.reload()
    expect(page.get_by_text("What the instances run is as it was: nothing is switched.")).to_be_visible()
    expect(page.get_by_role("link", name="Roll back this deploy…")).to_have_count(0)
    assert violations(page) == []
    page.goto("/history?service=billing")
    expect(page.get_by_role("row", name=operation.public_id)).to_contain_text(choice)
    page.goto("/services/billing")
    expect(page.locator(".timeline li").first).to_contain_text(choice)
