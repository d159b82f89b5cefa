"""The holds that a page shows."""

from __future__ import annotations

from collections.abc import Sequence

from deploys.models import Hold
from inventory.security.access import Access


def shown_holds(access: Access) -> list[Hold]:
    """The active holds of the person's services, the latest first."""
    return list(access.visible(Hold.objects.active()).select_related("service").order_by("-pk"))


def holds_mark(holds: Sequence[Hold]) -> str:
    """Changes when one begins or ends, by itself too."""
    return "-".join(str(hold.pk) for hold in holds)
