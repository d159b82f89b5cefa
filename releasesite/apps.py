from __future__ import annotations

from django.apps import AppConfig
from django_structlog.signals import bind_extra_request_finished_metadata

from releasesite.logs import add_caller


class ReleaseSiteConfig(AppConfig):
    name = "releasesite"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        bind_extra_request_finished_metadata.connect(add_caller)
