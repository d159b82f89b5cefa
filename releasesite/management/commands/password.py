from __future__ import annotations

import secrets
from typing import Any

from axes.utils import reset
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError, transaction

from inventory.actors import SYSTEM
from inventory.security import audit
from releasesite.demo.database import is_embedded
from releasesite.demo.layout import Layout, shown, write_secret
from releasesite.demo.login import ADMIN
from releasesite.site_files import COMMAND


class Command(BaseCommand):
    help = "Gives the user admin a new random password (and makes that user when there is none)."

    def handle(self, *args: Any, **options: Any) -> None:
        password = secrets.token_urlsafe(12)
        try:
            set_password(password)
        except ProgrammingError as error:
            raise CommandError(f"The database has no tables yet: run `{COMMAND} migrate` first.") from error
        self.stderr.write(f"The new password of {ADMIN}, shown this once{keep(password)}:")
        self.stdout.write(password)


def keep(password: str) -> str:
    """For trying it out only: in production no copy stays, an earlier version's neither."""
    file = Layout(data_dir=settings.DATA_DIR).admin_password
    if not is_embedded():
        file.unlink(missing_ok=True)
        return ""
    write_secret(file, f"{password}\n")
    return f"; kept in {shown(file)}"


@transaction.atomic
def set_password(password: str) -> None:
    """The user's open sessions end with it, and a lock-out after too many wrong ones."""
    admin, _ = User.objects.get_or_create(username=ADMIN)
    admin.set_password(password)
    admin.is_active = admin.is_staff = admin.is_superuser = True
    admin.save(update_fields=["password", "is_active", "is_staff", "is_superuser"])
    reset(username=ADMIN)
    audit.record(actor=SYSTEM, action="user.password", object_kind="user", object_id=ADMIN)
