"""A service's `zip_names`: in the file, in the admin's form, and in a row that old code has written."""

from __future__ import annotations

import pytest
from django.db import connection

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.forms import ServiceForm
from inventory.models import Service, ZipNames
from tests.support.fleet import make_service

pytestmark = pytest.mark.django_db

SERVICE = "services:\n  - {name: shop%s}\n"


def bring_in(more: str) -> str:
    import_inventory((SERVICE % more).encode(), filename="inventory.yaml", actor=SYSTEM)
    return Service.objects.get().zip_names


def test_zips_have_utf8_names_unless_the_file_says_gbk() -> None:
    assert bring_in("") == ZipNames.UTF8
    assert bring_in(", zip_names: gbk") == ZipNames.GBK
    assert bring_in("") == ZipNames.GBK
    assert bring_in(", zip_names: utf-8") == ZipNames.UTF8


def test_any_other_encoding_is_refused_with_its_line() -> None:
    with pytest.raises(InventoryFileError) as refusal:
        bring_in(", zip_names: cp437")

    (problem,) = refusal.value.problems
    assert problem.attr == "services.0.zip_names"
    assert problem.detail.startswith("inventory.yaml:2: ")


def test_the_admins_form_offers_it_with_help() -> None:
    field = ServiceForm().fields["zip_names"]
    assert [value for value, _label in field.choices] == ["utf-8", "gbk"]  # type: ignore[attr-defined]
    assert "not UTF-8" in str(field.help_text)


def test_a_form_that_was_opened_before_the_upgrade_leaves_it_alone() -> None:
    service = make_service("shop", zip_names=ZipNames.GBK)
    form = ServiceForm({"name": "shop", "command_timeout": 60, "keep_releases": 9}, instance=service)
    assert form.is_valid(), form.errors
    form.save()
    service.refresh_from_db()
    assert (service.keep_releases, service.zip_names) == (9, ZipNames.GBK)


def test_old_code_beside_us_makes_services_that_want_utf8() -> None:
    """A worker or web process of the version before knows no such column, and leaves it out."""
    columns = [field.column for field in Service._meta.concrete_fields if field.column not in ("id", "zip_names")]
    kept = make_service("kept")
    with connection.cursor() as cursor:
        names = ", ".join(f'"{column}"' for column in columns)
        values = ", ".join("'old'" if column == "name" else f'"{column}"' for column in columns)
        cursor.execute(
            f"INSERT INTO inventory_service ({names}) SELECT {values} FROM inventory_service WHERE id = %s", [kept.pk]
        )
    assert Service.objects.get(name="old").zip_names == ZipNames.UTF8
