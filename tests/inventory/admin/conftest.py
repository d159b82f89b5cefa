from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.test import Client

from inventory.models import AuditEntry


@pytest.fixture
def ann(db: None) -> User:
    """An admin by the group alone: neither a superuser nor Django's staff."""
    user = User.objects.create_user("ann", password="a long passphrase")
    user.groups.add(Group.objects.get(name="admin"))
    return user


@pytest.fixture
def admin_page(ann: User, client: Client) -> Client:
    client.force_login(ann)
    return client


@pytest.fixture
def root_page(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root", password="a long passphrase"))
    return client


def edits() -> QuerySet[AuditEntry]:
    """The audit without the logins that the fixtures made."""
    return AuditEntry.objects.exclude(action="login")
