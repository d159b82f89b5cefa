"""Start a deploy by hand: the form, its preview, and the one button that starts it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from deploys.models import Operation
from deploys.operations.create import generated_id
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, Until
from deploys.web.pages.forms import DeployForm
from deploys.web.pages.queries.deploy_preview import DeployPreview, Wanted, preview
from deploys.web.pages.queries.known_versions import known_versions
from deploys.web.pages.queries.service import chosen_instances
from inventory.console.pages import Pages, page, word
from inventory.errors import ReleaseError
from inventory.models import Service
from inventory.names import is_operation_id
from inventory.security.access import Access, Scope, access_of
from inventory.wire.limits import MAX_INSTANCES

ROWS = 100
_INITIAL = {"scope": "all", "until": Until.SWITCHED}


@page(Scope.DEPLOY)
def start(request: HttpRequest) -> HttpResponse:
    """GET: the form, or with `?to=` a known version's preview. POST: the preview, or with `step=start` the deploy.

    `?service=` and, as for a rollback, `?i=`, `?picked=1` or `?all=1` say to what. A package URL never stands in our URL.
    """
    access = access_of(request)
    if request.method != "POST":
        return _asked_for(request, access)
    form = DeployForm(request.POST, access=access)
    if request.POST.get("step") == "edit":
        return _form(request, access, form)
    return _previewed(request, access, form)


def _asked_for(request: HttpRequest, access: Access) -> HttpResponse:
    service = access.visible(Service.objects.all(), "pk").filter(name=word(request.GET, "service")).first()
    initial = _INITIAL | {"service": service.name if service else ""}
    if service is not None and {"i", "picked", "all"} & request.GET.keys():
        names = chosen_instances(request.GET, service).order_by("natural_key").values_list("instance_id", flat=True)
        initial |= {"scope": "some", "instances": "\n".join(names)}
    version = word(request.GET, "to")
    if service is not None and version:
        form = DeployForm(initial | {"version": version}, access=access)
        return _previewed(request, access, form)
    return _form(request, access, DeployForm(access=access, initial=initial))


def _previewed(request: HttpRequest, access: Access, form: DeployForm) -> HttpResponse:
    if not form.is_valid():
        return _form(request, access, form)
    names = form.instance_ids()
    if not names or len(names) > MAX_INSTANCES:
        form.add_error(
            "instances" if names else "service", _too_many() if names else _("This service has no instances.")
        )
        return _form(request, access, form)
    service = form.cleaned_data["service"]
    wanted = Wanted.of(form.cleaned_data, service=service, known=form.known_package())
    plan = preview(service, wanted, instance_ids=names)
    if request.POST.get("step") == "start":
        return _start(request, access, form, plan)
    return _preview(request, form, plan)


def _form(request: HttpRequest, access: Access, form: DeployForm) -> HttpResponse:
    """The services are listed by the template: a widget's own template for each of 500 options takes too long."""
    services = access.visible(Service.objects.order_by("name"), "pk")
    chosen = str(form["service"].value() or "")
    service = services.filter(name=chosen).first()
    context = {
        "form": form,
        "service_names": services.values_list("name", flat=True),
        "chosen_service": chosen,
        "known": known_versions(service, service.instances.listed()) if service else [],
        "selection": _selection(request) or [("service", chosen)],
    }
    return render(request, "deploys/deploy_form.html", context)


def _selection(request: HttpRequest) -> list[tuple[str, str]]:
    return [(key, value) for key, values in request.GET.lists() if key != "to" for value in values]


def _too_many() -> str:
    return _("At most %(count)s instances in one deploy.") % {"count": MAX_INSTANCES}


def _start(request: HttpRequest, access: Access, form: DeployForm, plan: DeployPreview) -> HttpResponse:
    deploy_id = request.POST.get("deploy_id", "")
    if not is_operation_id(deploy_id):
        return _preview(request, form, plan)
    if access.visible(Operation.objects.filter(kind=Kind.DEPLOY, public_id=deploy_id)).exists():
        return redirect("deploy", public_id=deploy_id)  # the second of two clicks
    if request.POST.get("digest") != plan.digest:
        return _preview(request, form, plan, has_moved=True)
    try:
        operation = start_deploy(
            access=access,
            request=DeployRequest(
                service=plan.service.name,
                version=plan.version,
                instances=tuple(row.instance_id for row in plan.rows),
                package_url=plan.wanted.package_url,
                deploy_id=deploy_id,
                sha256=plan.wanted.sha256,
                signature=plan.wanted.signature,
                reason=form.cleaned_data["reason"],
                until=form.cleaned_data["until"],
                confirm_within=form.cleaned_data["confirm_within"] or 0,
            ),
        )
    except ReleaseError as error:
        return _preview(request, form, plan, refusal=error)
    messages.success(request, _("The deploy has started."))
    return redirect("deploy", public_id=operation.public_id)


def _preview(
    request: HttpRequest,
    form: DeployForm,
    plan: DeployPreview,
    *,
    has_moved: bool = False,
    refusal: ReleaseError | None = None,
) -> HttpResponse:
    pages = Pages(number=1, size=ROWS, total=len(plan.rows))
    context = {
        "form": form,
        "until": form.cleaned_data["until"],
        "plan": plan,
        "rows": plan.rows[: pages.end],
        "pages": pages,
        "deploy_id": generated_id(Kind.DEPLOY),
        "has_moved": has_moved,
        "refusal": refusal,
    }
    return render(request, "deploys/deploy_preview.html", context, status=409 if has_moved or refusal else 200)
