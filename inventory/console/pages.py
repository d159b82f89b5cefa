"""What every page of the console shares: who may see it, and paging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from inventory.errors import NotFound
from inventory.security.access import Access, Scope

PageView = Callable[..., HttpResponseBase]


def page(scope: Scope = Scope.READ) -> Callable[[PageView], PageView]:
    """For a logged-in person with this scope; strangers are sent to log in, NotFound becomes the 404 page."""

    def decorate(view: PageView) -> PageView:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            access = getattr(request, "access", None)
            if not isinstance(access, Access):
                return _to_login(request)
            if not access.allows(scope):
                raise PermissionDenied
            try:
                response = view(request, *args, **kwargs)
            except NotFound as error:
                raise Http404(str(error)) from error
            patch_vary_headers(response, ("HX-Request",))
            return response

        return guarded

    return decorate


def word(params: QueryDict, name: str, *, limit: int = 100) -> str:
    """What an address says for this name, without what no column can hold."""
    return params.get(name, "").replace("\x00", "").strip()[:limit]


def is_fragment(request: HttpRequest) -> bool:
    """A live part asks, not a person: answer with the part alone."""
    htmx = HtmxDetails(request)
    return bool(htmx) and not htmx.history_restore_request


def _to_login(request: HttpRequest) -> HttpResponseBase:
    if is_fragment(request):
        # A redirect would put the log-in page into the live part.
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path())


@dataclass(frozen=True, kw_only=True)
class Pages:
    """One page of `total` rows, counted from 1."""

    number: int
    size: int
    total: int

    @classmethod
    def of(cls, params: QueryDict, *, total: int, size: int) -> Pages:
        """The page that `?page=` names, as far as there is one."""
        asked = params.get("page", "1")
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 8 else 1
        return cls(number=max(1, min(number, -(-total // size))), size=size, total=total)

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        return min(self.start + self.size, self.total)

    @property
    def first_row(self) -> int:
        return self.start + 1 if self.total else 0

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.end < self.total else None

    @property
    def is_alone(self) -> bool:
        return self.total <= self.size
