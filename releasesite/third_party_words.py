"""Words of packages that have no Chinese of their own, so that `make messages` finds them."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

DJANGO = (_("After you’ve created a user, you’ll be able to edit more user options."),)
AXES = (
    _("access attempt"),
    _("access attempts"),
    _("User Agent"),
    _("IP Address"),
    _("Username"),
    _("HTTP Accept"),
    _("Path"),
    _("Attempt Time"),
    _("GET Data"),
    _("POST Data"),
    _("Failed Logins"),
    _("Expires At"),
    _("Locked Out"),
    _("Form Data"),
    _("Meta Data"),
    _("Not set"),
    _("Attempt Remaining"),
    _("Clean up expired attempts"),
)
