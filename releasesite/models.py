"""Who may call: API tokens, and which services a person is limited to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import Error, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken, get_digest_token
from knox.settings import CONSTANTS

from inventory.actors import SYSTEM, Actor
from inventory.database.outage import is_read_only
from inventory.models import Service
from inventory.security import audit
from inventory.security.access import Scope


class TokenScope(models.TextChoices):
    DEPLOY = "deploy", _("deploy, roll back and read")
    READ = "read", _("read")
    REPORT = "report", _("instance reports")
    INVENTORY = "inventory", _("edit the inventory, and read")


SCOPES_OF_TOKEN: dict[str, frozenset[Scope]] = {
    TokenScope.DEPLOY: frozenset({Scope.DEPLOY, Scope.READ}),
    TokenScope.READ: frozenset({Scope.READ}),
    TokenScope.REPORT: frozenset({Scope.REPORT}),
    TokenScope.INVENTORY: frozenset({Scope.INVENTORY, Scope.READ}),
}


def validate_network(value: str) -> None:
    """Raise Django's ValidationError unless value is a network such as 10.0.0.0/8 or a single address."""
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValidationError(
            _("%(value)r is not a network: write it as 10.0.0.0/8, or a single address."),
            code="invalid_network",
            params={"value": value},
        ) from error


class ApiTokenManager(models.Manager["ApiToken"]):
    @transaction.atomic
    def issue(
        self,
        *,
        name: str,
        scope: str,
        services: Iterable[Service] = (),
        expires_in: timedelta | None = None,
        allowed_networks: Sequence[str] = (),
        created_by: Any = None,
        actor: Actor = SYSTEM,
    ) -> tuple[ApiToken, str]:
        """The new token and its secret, which is stored nowhere. No services given: good for all of them."""
        limited_to = list(services)
        digest, secret = get_digest_token()
        token = self.create(
            digest=digest,
            token_key=secret[: CONSTANTS.TOKEN_KEY_LENGTH],
            name=name,
            scope=scope,
            all_services=not limited_to,
            expiry=timezone.now() + expires_in if expires_in else None,
            allowed_networks=list(allowed_networks),
            created_by=created_by,
        )
        token.services.set(limited_to)
        names = ", ".join(service.name for service in limited_to)
        audit.record(
            actor=actor,
            action="token.create",
            object_kind="token",
            object_id=token.name,
            service=names,
            detail={"scope": scope, "key": token.token_key[:8]},
        )
        return token, secret


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A program's key to /v1. Only its hash is stored.

    all_services says so outright: were "no services" to mean all, a token would grow when its last service goes.
    allowed_networks: CIDR; empty means from anywhere. revoked_at keeps the row, so that its deeds keep a name.
    """

    user = None
    name = models.CharField(_("name"), max_length=100)
    scope = models.CharField(_("scope"), max_length=16, choices=TokenScope)
    all_services = models.BooleanField(_("all services"), default=False)
    services = models.ManyToManyField(Service, verbose_name=_("services"), blank=True, related_name="+")
    allowed_networks: ArrayField[Sequence[str], list[str]] = ArrayField(
        models.CharField(max_length=50, validators=[validate_network]),
        verbose_name=_("allowed networks"),
        default=list,
        blank=True,
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    objects = ApiTokenManager()

    class Meta:
        ordering = ("name", "-created")
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return f"{self.name} ({self.token_key[:8]}…)"

    @property
    def is_expired(self) -> bool:
        expiry: datetime | None = self.expiry
        return expiry is not None and expiry <= timezone.now()

    def may_come_from(self, address: str) -> bool:
        if not self.allowed_networks:
            return True
        try:
            caller = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(caller in ipaddress.ip_network(network) for network in self.allowed_networks)

    @transaction.atomic
    def revoke(self, *, actor: Actor) -> None:
        live = type(self).objects.filter(pk=self.pk, revoked_at__isnull=True)
        if live.update(revoked_at=timezone.now()):
            audit.record(actor=actor, action="token.revoke", object_kind="token", object_id=self.name)

    def mark_used(self) -> None:
        """Written once a minute at most: a poller must not turn every read into a write. Left out where nothing is written."""
        now = timezone.now()
        if self.last_used_at is not None and now - self.last_used_at < timedelta(minutes=1):
            return
        try:
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)
        except Error as error:
            if not is_read_only(error):
                raise


class ServiceLimit(models.Model):
    """A person with a row here sees these services only; without one, all. Superusers are never limited."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="service_limit"
    )
    services = models.ManyToManyField(Service, verbose_name=_("services"), blank=True, related_name="+")

    class Meta:
        verbose_name = _("limit to services")
        verbose_name_plural = _("limits to services")

    def __str__(self) -> str:
        return f"services of {self.user}"


class Identity(models.Model):
    """Who a person is at the identity provider. Whoever has one logs in by that alone, and has no password here."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="identity"
    )
    issuer = models.CharField(_("issuer"), max_length=500)
    subject = models.CharField(_("subject at the issuer"), max_length=255)

    class Meta:
        verbose_name = _("identity at a provider")
        verbose_name_plural = _("identities at a provider")
        constraints = (models.UniqueConstraint(fields=("issuer", "subject"), name="identity_of_one_person"),)

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class RequestCount(models.Model):
    """How often a caller has called within the current minute: a counter that all web processes share."""

    key = models.CharField(_("key"), max_length=100, primary_key=True)
    minute = models.DateTimeField(_("minute"))
    requests = models.PositiveIntegerField(_("requests"))

    def __str__(self) -> str:
        return self.key
