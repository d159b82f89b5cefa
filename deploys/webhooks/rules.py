"""Which URLs a webhook may have: of the hosts in RELEASE_WEBHOOK_HOSTS, by the rules that package hosts go by."""

from __future__ import annotations

from django.conf import settings

from deploys.packages.hosts import HostRule, url_problem

SETTING = "RELEASE_WEBHOOK_HOSTS"


def host_rules() -> tuple[HostRule, ...]:
    return tuple(HostRule.parse(entry) for entry in settings.WEBHOOK_HOSTS)


def webhook_url_problem(url: str) -> str:
    """Why nothing is sent to this URL; "" when it may be. Which addresses the name has is seen at sending."""
    try:
        return str(url_problem(url, host_rules(), SETTING) or "")
    except ValueError:
        return "it can't be read as a URL"
