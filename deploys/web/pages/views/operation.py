"""An operation's page, for deploys and rollbacks alike, and the buttons on it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.operations.confirm import confirm_deploy
from deploys.operations.database_trouble import DatabaseTrouble, database_trouble
from deploys.operations.queries import visible_operation
from deploys.operations.reauth_rule import takes_password
from deploys.operations.retention import lines_deleted
from deploys.operations.retry import retry_operation
from deploys.operations.sentences import operation_details, operation_sentence
from deploys.states import Kind, Until
from deploys.web.pages.queries import log as logs
from deploys.web.pages.queries import operation as queries
from deploys.web.pages.queries.failures import error_groups, last_lines
from deploys.web.pages.queries.pace import Pace, paces
from deploys.web.pages.queries.rows import OperationRow, rows
from deploys.web.pages.views.log import chosen_instance, log_context
from deploys.web.reauth_form import has_confirmed, has_logged_in_again, login_again, password_field
from inventory.console.pages import Pages, is_fragment, page
from inventory.errors import Conflict, Forbidden
from inventory.security.access import Scope, access_of


class PasswordForm(forms.Form):
    password = password_field()


@page()
def show(request: HttpRequest, kind: str, public_id: str) -> HttpResponse:
    operation = visible_operation(access_of(request), Kind(kind), public_id)
    row = rows([operation])[0]
    dead = queries.dead_since(operation) if row.is_running else None
    trouble = database_trouble() if row.is_running else None
    mark = queries.operation_mark(row, dead=dead, trouble=trouble)
    if is_fragment(request):
        if request.GET.get("mark") == mark:
            return HttpResponse(status=204)
        return render(request, "deploys/_operation_live.html", live_context(request, row, mark, dead, trouble))
    context = live_context(request, row, mark, dead, trouble)
    context |= log_context(request, operation, _first_part(request, operation))
    context["lines_deleted"] = lines_deleted(operation)
    return render(request, "deploys/operation.html", context)


def _first_part(request: HttpRequest, operation: Operation) -> logs.LogPart:
    """What was, then the tail; a permanent link to a line brings the lines around it."""
    instance = chosen_instance(request, operation)
    line = request.GET.get("line", "")
    if line.isascii() and line.isdigit() and len(line) < 15:
        return logs.around(operation, instance, int(line))
    if request.GET.get("log") == "start":
        return logs.after(operation, instance, 0)
    return logs.newest(operation, instance)


def live_context(
    request: HttpRequest, row: OperationRow, mark: str, dead: Any, trouble: DatabaseTrouble | None
) -> dict[str, Any]:
    operation = row.operation
    wanted = queries.TargetFilter.of(request.GET)
    targets = wanted.matching(operation)
    total = targets.count() if wanted.query else row.progress.count(wanted.status)
    pages = Pages.of(request.GET, total=total, size=queries.PAGE_SIZE)
    facts = queries.operation_facts(row)
    may_be_undone = not row.is_running and operation.until == Until.SWITCHED
    first_errors = queries.first_errors(operation) if row.progress.failed else []
    pace = paces([operation])[operation.pk] if row.is_running else Pace()
    return {
        "row": row,
        "operation": operation,
        "progress": row.progress,
        "mark": mark,
        "dead_since": dead,
        "database_trouble": trouble,
        "wanted": wanted,
        "pages": pages,
        "targets": queries.target_rows(operation, targets, pages),
        "first_errors": first_errors,
        "first_last_lines": next(iter(last_lines(operation, first_errors[:1]).values()), None),
        "error_groups": error_groups(operation) if row.progress.failed > 1 else [],
        "pace": pace,
        "is_far_beyond": pace.is_far_beyond(row.seconds),
        "facts": facts,
        "sentence": operation_sentence(facts),
        "details": operation_details(facts),
        "left_to_undo": queries.left_to_undo(operation) if may_be_undone else 0,
        "may_be_undone": may_be_undone,
        "kept_attempts": queries.attempts(operation),
        "unconfirmed": queries.unconfirmed(operation),
        "undone_by": list(operation.undone_by.order_by("pk")[:5]),
        "undoes": operation.undoes,
        "retry_takes_password": takes_password(access_of(request), Kind(operation.kind), row.progress.retryable),
    }


@require_POST
@page(Scope.DEPLOY)
def cancel(request: HttpRequest, kind: str, public_id: str) -> HttpResponse:
    """With `then=rollback` on to the preview of the way back."""
    try:
        operation = cancel_operation(access=access_of(request), kind=Kind(kind), public_id=public_id)
    except Conflict:
        messages.warning(request, _("The operation had finished already: there was nothing to stop."))
        return redirect(kind, public_id=public_id)
    if request.POST.get("then") == "rollback":
        return redirect_to_way_back(operation)
    messages.success(request, _("Stopping: instances between switch and restart finish first."))
    return redirect(kind, public_id=public_id)


@require_POST
@page(Scope.DEPLOY)
def confirm(request: HttpRequest, public_id: str) -> HttpResponse:
    try:
        confirm_deploy(access=access_of(request), public_id=public_id)
    except Conflict:
        messages.warning(request, _("Nothing waited to be confirmed any more: the instances below say what is so."))
    else:
        messages.success(request, _("Confirmed: what waited stays."))
    return redirect(str(Kind.DEPLOY), public_id=public_id)


def redirect_to_way_back(operation: Operation) -> HttpResponse:
    return redirect(reverse("roll-back", kwargs={"name": operation.service.name}) + f"?deploy={operation.public_id}")


@require_POST
@page(Scope.DEPLOY)
def retry(request: HttpRequest, kind: str, public_id: str) -> HttpResponse:
    access, password = access_of(request), request.POST.get("password")
    is_given = (password is not None or has_logged_in_again(request)) and has_confirmed(request, password or "")
    try:
        retry_operation(access=access, kind=Kind(kind), public_id=public_id, has_given_password=is_given)
    except Forbidden:
        return _ask_for_password(
            request, visible_operation(access, Kind(kind), public_id), is_wrong=password is not None
        )
    except Conflict as conflict:
        messages.error(request, _why_not_again(conflict))
        return redirect(kind, public_id=public_id)
    messages.success(request, _("Retrying the failed and cancelled instances."))
    return redirect(kind, public_id=public_id)


def _why_not_again(conflict: Conflict) -> str:
    match conflict.code:
        case "instance_busy":
            return _("Some of its instances are in another operation. Wait for it, then retry.")
        case "service_held":
            return _("The service is held: no deploy of it starts.")
        case "nothing_to_retry":
            return _("There is no failed or cancelled instance to retry.")
        case _:
            return " ".join(problem.detail for problem in conflict.problems)


def _ask_for_password(request: HttpRequest, operation: Operation, *, is_wrong: bool) -> HttpResponse:
    count = rows([operation])[0].progress.retryable
    context = {"operation": operation, "count": count, "form": PasswordForm(), "is_password_wrong": is_wrong}
    context["login_again"] = login_again(
        request, back=reverse(operation.kind, kwargs={"public_id": operation.public_id})
    )
    return render(request, "deploys/retry.html", context, status=403 if is_wrong else 200)
