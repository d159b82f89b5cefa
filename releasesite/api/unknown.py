"""Every other path under /v1."""

from __future__ import annotations

from typing import Any, NoReturn

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.views import APIView

from inventory.errors import NotFound


class UnknownPath(APIView):
    """A JSON 404 that needs no token: it tells nothing."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotFound(
            _("There is nothing at %(path)s. GET /v1/docs lists all that there is.") % {"path": request.path}
        )
