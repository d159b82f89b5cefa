"""Pages and buttons about what exists."""

from __future__ import annotations

from django.urls import path

from inventory.web import views
from inventory.wire.converters import register_converters

register_converters()

urlpatterns = [path("services/<name:name>/sync", views.sync_now, name="service-sync-now")]
