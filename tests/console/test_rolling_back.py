from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from deploys.models import Operation, Target
from deploys.states import Kind, TargetStatus
from inventory.models import Instance, StatusChange
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet


def test_one_instance_goes_back_in_two_clicks_with_its_reason_kept(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/search-api")
    page.locator("tr", has_text="search-api-1:").or_(page.locator("tr", has_text="search-api-1")).first.get_by_role(
        "link", name="Roll back to v0.31.3…"
    ).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Roll back search-api to v0.31.3")
    page.get_by_label("Reason").fill("search is slow")
    page.get_by_role("button", name="Roll back 1 instance to v0.31.3").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    rollback = Operation.objects.get(kind=Kind.ROLLBACK, service__name="search-api")
    assert (rollback.version, rollback.from_version, rollback.reason) == ("v0.31.3", "v0.31.4", "search is slow")
    assert list(rollback.targets.values_list("instance__instance_id", flat=True)) == ["search-api-1"]


def test_a_selection_goes_back_and_what_runs_the_version_already_is_left_out(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/search-api")
    expect(page.get_by_role("button", name="Roll back the selected…")).to_be_disabled()
    for name in ("search-api-2", "search-api-3", "search-api-4"):
        page.get_by_label(f"Select {name}", exact=True).check()
    page.get_by_role("button", name="Roll back the selected…").click()
    expect(page.get_by_text("It runs this version already.")).to_be_visible()
    page.get_by_role("button", name="Roll back 2 instances to v0.31.3").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    rollback = Operation.objects.get(kind=Kind.ROLLBACK, service__name="search-api")
    names = rollback.targets.values_list("instance__instance_id", flat=True)
    assert sorted(names) == ["search-api-2", "search-api-4"]


def test_a_double_click_makes_one_rollback(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/billing/roll-back")
    page.locator("#confirm").dblclick(no_wait_after=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("Roll back billing to v5.1.9")
    page.wait_for_url("**/rollbacks/*")
    assert Operation.objects.filter(kind=Kind.ROLLBACK, service__name="billing").count() == 1


def test_if_the_world_has_moved_there_is_a_new_preview_and_nothing_happens(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expected = ("409 (Conflict)",)
    page = open_page("operator")
    page.goto("/services/billing/roll-back")
    Instance.objects.filter(instance_id="billing-1").update(running_version="v9", running_release="v9")
    page.get_by_label("Reason").fill("kept")
    page.locator("#confirm").click()
    expect(page.get_by_role("alert")).to_contain_text("This preview is out of date.")
    expect(page.get_by_label("Reason")).to_have_value("kept")
    assert not Operation.objects.filter(kind=Kind.ROLLBACK, service__name="billing").exists()
    page.locator("#confirm").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()


def test_a_running_deploy_is_stopped_and_rolled_back_in_one_flow(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto(f"/deploys/{fleet.operations['running'].public_id}")
    page.get_by_role("button", name="Stop and roll back…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Roll back user-service to v1.4.1")
    expect(page.get_by_text("A deploy in progress will be superseded:")).to_be_visible()
    page.locator("#confirm").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    assert Operation.objects.get(kind=Kind.ROLLBACK, service__name="user-service").undoes == fleet.operations["running"]


def test_a_running_deploy_is_stopped(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["running"]
    page = open_page("operator")
    page.goto(f"/deploys/{operation.public_id}")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".hero-sentence")).to_have_text("Stopping: 3 unfinished")
    for target in Target.objects.filter(operation=operation, status=TargetStatus.IN_PROGRESS):
        demo_data.finish_target(target, TargetStatus.CANCELLED)
    expect(page.locator(".hero-sentence")).to_have_text("Failed on 1 of 24 instances")


def test_failed_instances_are_tried_again(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["failed"]
    page = open_page("operator")
    page.goto(f"/deploys/{operation.public_id}")
    page.get_by_role("button", name="Retry 3 failed or cancelled").click()
    expect(page.get_by_text("Retrying the failed and cancelled instances.")).to_be_visible()
    assert Target.objects.filter(operation=operation, attempt=2, is_latest=True).count() == 3


def test_a_deploy_is_started_by_hand_after_its_preview(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/billing")
    page.locator(".page-head").get_by_role("link", name="Deploy…").click()
    page.get_by_label("Version").fill("v5.3.1")
    page.get_by_label("Package URL").fill("https://packages.example.com/billing/v5.3.1.tar.gz?signature=hush-hush")
    page.get_by_label("Only these").check()
    page.get_by_label("Instance ids").fill("billing-1, billing-2")
    page.get_by_role("button", name="Preview the deploy").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deploy v5.3.1 to billing")
    expect(page.locator("main")).not_to_contain_text("hush-hush")
    page.get_by_role("button", name="Deploy v5.3.1 to 2 instances").click()
    expect(page.get_by_text("The deploy has started.")).to_be_visible()
    assert Operation.objects.get(version="v5.3.1").total == 2


def test_a_deploy_onto_busy_or_unknown_instances_says_so_before_it_is_asked_for(
    fleet: Fleet, open_page: OpenPage
) -> None:
    page = open_page("operator")
    page.goto("/deploy?service=user-service")
    page.get_by_label("Version").fill("v1.5.0")
    page.get_by_label("Package URL").fill("https://packages.example.com/user-service/v1.5.0.tar.gz")
    page.get_by_label("Only these").check()
    page.get_by_label("Instance ids").fill("user-service-10 nobody-1")
    page.get_by_role("button", name="Preview the deploy").click()
    expect(page.get_by_text("user-service has no such instance:")).to_be_visible()
    expect(page.get_by_text("1 instance is in an unfinished operation.")).to_be_visible()
    expect(page.locator("#confirm")).to_have_count(0)


def test_a_deploy_that_no_instance_runs_offers_no_way_back_and_says_why(fleet: Fleet, client: Client) -> None:
    """A button there would lead to a plan of nothing."""
    service = fleet.services["billing"]
    failed = demo_data.add_operation(service, "bad", [TargetStatus.FAILED] * 3, version="v9.9.9", minutes_ago=1)
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")

    def shown() -> str:
        return " ".join(client.get("/deploys/bad").content.decode().split())

    failed.targets.update(reverted=True, error_code="command_failed")
    assert "All 3 instances were reverted to v5.2.0; there is nothing to roll back." in shown()
    assert 'id="do-back"' not in shown()
    failed.targets.update(reverted=None, error_code="node_unreachable")
    assert "No instance runs this version: there is nothing to roll back." in shown()
    assert 'id="do-back"' not in shown()
    (target, *_others) = failed.targets.all()
    Instance.objects.filter(pk=target.instance_id).update(run_status="unknown")
    failed.targets.filter(pk=target.pk).update(error_code="revert_failed")
    assert 'id="do-back"' in shown()
    failed.targets.filter(pk=target.pk).update(error_code="node_unreachable")
    Instance.objects.filter(pk=target.instance_id).update(running_version="v9.9.9", run_status="failed")
    assert 'id="do-back"' in shown()


def test_an_operation_of_last_month_does_not_say_what_runs_today(fleet: Fleet, client: Client) -> None:
    service = fleet.services["billing"]
    old = demo_data.add_operation(service, "old", [TargetStatus.COMPLETED] * 2, version="v5.1.0", minutes_ago=90)
    failed = demo_data.add_operation(service, "bad", [TargetStatus.FAILED] * 2, version="v9.9.9", minutes_ago=60)
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")

    def shown(public_id: str) -> str:
        return " ".join(client.get(f"/deploys/{public_id}").content.decode().split())

    Instance.objects.filter(service=service).update(running_version="v5.1.0")
    assert "Completed: all 2 instances run v5.1.0" in shown("old")
    for target in old.targets.all():
        change = {"field": "version", "old": "v5.1.0", "new": "v5.4.0", "actor_kind": "user", "actor_name": "ann"}
        StatusChange.objects.create(instance_id=target.instance_id, **change)
    Instance.objects.filter(service=service).update(running_version="v5.4.0")
    failed.targets.update(reverted=True, error_code="command_failed")

    assert "Completed: all 2 instances were switched to v5.1.0" in shown("old")
    assert "2 were switched to v5.1.0 and run another version now." in shown("old")
    assert "It was switched to v5.1.0; it runs v5.4.0 now." in shown("old")
    assert "All 2 instances were reverted to v5.1.0" in shown("bad")


def test_a_mistaken_rollback_is_undone_in_two_clicks(fleet: Fleet, open_page: OpenPage) -> None:
    """Forward again, by the same preview, and without a hold."""
    demo_data.add_operation(
        fleet.services["billing"], "oops", [TargetStatus.COMPLETED] * 2, kind=Kind.ROLLBACK, version="v5.1.9",
        from_version="v5.2.0", minutes_ago=1,
    )  # fmt: skip
    Instance.objects.filter(instance_id__in=["billing-1", "billing-2"]).update(
        running_version="v5.1.9", running_release="v5.1.9", release_history=["v5.1.9"]
    )
    page = open_page("operator")
    page.goto("/rollbacks/oops")
    page.get_by_role("link", name="Undo: return to v5.2.0…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Return billing to v5.2.0")
    expect(page.get_by_label("Hold the service, too")).not_to_be_checked()
    page.get_by_role("button", name="Return 2 instances to v5.2.0").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    forward = Operation.objects.filter(kind=Kind.ROLLBACK, service__name="billing").latest("pk")
    assert (forward.version, forward.from_version, forward.total) == ("v5.2.0", "v5.1.9", 2)
