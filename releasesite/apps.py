from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _
from django_structlog.signals import bind_extra_request_finished_metadata

from inventory.database import sessions
from releasesite.logs import add_caller


class ReleaseSiteConfig(AppConfig):
    name = "releasesite"
    verbose_name = _("API access")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Its models are not there yet at import.
        from releasesite import checks  # noqa: F401 -- registers them
        from releasesite.login import audit

        bind_extra_request_finished_metadata.connect(add_caller)
        audit.connect()
        sessions.end_silent_ones()
