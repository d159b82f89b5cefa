"""Pages of rollbacks."""

from __future__ import annotations

from django.urls import path

from inventory.wire.converters import register_converters
from rollbacks.views import roll_back

register_converters()

urlpatterns = [path("services/<name:name>/roll-back", roll_back.roll_back, name="roll-back")]
