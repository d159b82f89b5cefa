"""The way back: a preview with a URL of its own, and the one button that sets it going."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from deploys.models import Operation, Target
from deploys.operations.create import generated_id
from deploys.operations.queries import visible_operation
from deploys.operations.reauth_rule import takes_password
from deploys.states import ACTIVE, Kind
from deploys.web.pages.queries.service import chosen_instances
from deploys.web.reauth_form import has_confirmed, login_again
from inventory.console.pages import Pages, page, word
from inventory.errors import ReleaseError
from inventory.instances.selection import visible_service
from inventory.models import Instance, Service
from inventory.names import MAX_OPERATION_ID_LENGTH, is_name
from inventory.security.access import Access, Scope, access_of
from rollbacks.forms import ConfirmForm
from rollbacks.plan import Plan, build_plan
from rollbacks.services import BatchRollbackRequest, start_batch_rollback

ROWS = 100


@page(Scope.DEPLOY)
def roll_back(request: HttpRequest, name: str) -> HttpResponse:
    """`?i=` picks instances by key, `?deploy=` and `?rollback=` those of an operation that is undone, `?all=1` those of a
    filter; `?to=` the version, left out for a rollback that is undone: what ran before it.
    """
    access = access_of(request)
    service = visible_service(access, name)
    undone = _undone(request, access)
    instances = _meant(request, service, undone)
    version = request.GET.get("to", "")
    version = version if is_name(version) else _before(undone)
    plan_for = partial(build_plan, service, instances, version=version, undone=undone.version if undone else "")
    if request.method != "POST":
        plan = plan_for()
        return _preview(request, plan, _new_form(hold=not _is_forward(request, plan)))
    form = ConfirmForm(request.POST)
    if not form.is_valid():
        return _preview(request, plan_for(), form)
    return _confirm(request, access, plan_for(package_url=form.cleaned_data["package_url"]), form)


def _undone(request: HttpRequest, access: Access) -> Operation | None:
    for kind in Kind:
        if public_id := word(request.GET, kind, limit=MAX_OPERATION_ID_LENGTH):
            return visible_operation(access, kind, public_id)
    return None


def _before(undone: Operation | None) -> str:
    """Of a rollback, what its instances ran; of a deploy each instance's own past says it."""
    return undone.from_version if undone is not None and undone.kind == Kind.ROLLBACK else ""


def _is_forward(request: HttpRequest, plan: Plan) -> bool:
    return bool(word(request.GET, Kind.ROLLBACK, limit=MAX_OPERATION_ID_LENGTH)) or plan.is_forward


def _meant(request: HttpRequest, service: Service, undone: Operation | None) -> QuerySet[Instance]:
    if undone is not None:
        return _of_operation(Instance.objects.listed().filter(service=service), undone)
    return chosen_instances(request.GET, service)


def _of_operation(instances: QuerySet[Instance], undone: Operation) -> QuerySet[Instance]:
    """Those that run what it brought, or are about to."""
    targets = Target.objects.filter(operation=undone, is_latest=True, instance=OuterRef("pk"))
    taken = Q(Exists(targets)) & Q(running_version=undone.version)
    return instances.filter(taken | Q(Exists(targets.filter(status__in=ACTIVE))))


def _new_form(**initial: str | bool) -> ConfirmForm:
    return ConfirmForm(initial={"rollback_id": generated_id(Kind.ROLLBACK), **initial})


def _confirm(request: HttpRequest, access: Access, plan: Plan, form: ConfirmForm) -> HttpResponse:
    rollback_id = form.cleaned_data["rollback_id"]
    if access.visible(Operation.objects.filter(kind=Kind.ROLLBACK, public_id=rollback_id)).exists():
        return redirect("rollback", public_id=rollback_id)  # the second of two clicks
    kept = {name: form.cleaned_data[name] for name in ("reason", "package_url", "hold")}
    if form.cleaned_data["digest"] != plan.digest or not plan.is_possible:
        # A package URL given just now changes the plan by itself: that is no surprise to the reader.
        return _preview(request, plan, _new_form(**kept), has_moved=not plan.package_url)
    takes = takes_password(access, Kind.ROLLBACK, len(plan.moving))
    if takes and not has_confirmed(request, form.cleaned_data["password"]):
        return _preview(request, plan, _new_form(**kept), is_password_wrong=True)
    try:
        operation = start_batch_rollback(access=access, request=_request(plan, form, has_given_password=takes))
    except ReleaseError as error:
        return _preview(request, plan, _new_form(**kept), refusal=error)
    messages.success(request, _("The rollback has started."))
    return redirect("rollback", public_id=operation.public_id)


def _request(plan: Plan, form: ConfirmForm, *, has_given_password: bool) -> BatchRollbackRequest:
    return BatchRollbackRequest(
        service=plan.service.name,
        target_version=plan.version,
        package_url=plan.package_url,
        instances=tuple(row.instance_id for row in plan.moving),
        from_version=plan.from_version,
        rollback_id=form.cleaned_data["rollback_id"],
        reason=form.cleaned_data["reason"],
        hold=form.cleaned_data["hold"],
        has_given_password=has_given_password,
    )


def _preview(
    request: HttpRequest,
    plan: Plan,
    form: ConfirmForm,
    *,
    has_moved: bool = False,
    is_password_wrong: bool = False,
    refusal: ReleaseError | None = None,
) -> HttpResponse:
    pages = Pages.of(request.GET, total=len(plan.rows), size=ROWS)
    takes = takes_password(access_of(request), Kind.ROLLBACK, len(plan.moving))
    context = {
        "plan": plan,
        "service": plan.service,
        "form": form,
        "rows": plan.rows[pages.start : pages.end],
        "pages": pages,
        "is_forward": _is_forward(request, plan),
        "selection": [
            (key, value) for key, values in request.GET.lists() if key not in ("to", "page") for value in values
        ],
        "is_nothing_picked": "picked" in request.GET and "i" not in request.GET,
        "has_moved": has_moved,
        "takes_password": takes,
        "login_again": login_again(request) if takes else None,
        "is_password_wrong": is_password_wrong,
        "refusal": refusal,
    }
    status = 403 if is_password_wrong else 409 if has_moved or refusal else 200
    return render(request, "rollbacks/roll_back.html", context, status=status)
