from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory

from inventory.models import AuditEntry

pytestmark = pytest.mark.django_db


def new_password() -> str:
    shown = io.StringIO()
    call_command("password", stdout=shown, stderr=io.StringIO())
    return shown.getvalue().strip()


def can_log_in(password: str) -> bool:
    return authenticate(RequestFactory().get("/"), username="admin", password=password) is not None


def test_it_makes_the_admin_and_keeps_the_password_in_a_private_file(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path

    password = new_password()

    assert len(password) >= 16
    assert can_log_in(password)
    file = tmp_path / "admin-password"
    assert file.read_text() == f"{password}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_old_password_is_good_no_longer(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    first = new_password()
    second = new_password()

    assert first != second
    assert not can_log_in(first)
    assert can_log_in(second)
    assert User.objects.filter(username="admin").count() == 1


def test_it_ends_a_lock_out_and_leaves_a_line_in_the_audit(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    new_password()
    for _ in range(settings.AXES_FAILURE_LIMIT + 1):
        can_log_in("wrong")

    assert can_log_in(new_password())
    assert AuditEntry.objects.filter(action="user.password", object_id="admin").count() == 2


def test_in_production_no_copy_is_kept_an_earlier_one_neither(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "admin-password").write_text("of an earlier version\n")
    connection.settings_dict["ENGINE"], embedded = "django.db.backends.postgresql", connection.settings_dict["ENGINE"]
    try:
        assert can_log_in(new_password())
    finally:
        connection.settings_dict["ENGINE"] = embedded

    assert list(tmp_path.iterdir()) == []
