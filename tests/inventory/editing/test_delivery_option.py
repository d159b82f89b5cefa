from __future__ import annotations

import pytest

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.forms import NodeForm
from inventory.models import Delivery, Node

pytestmark = pytest.mark.django_db

NODE = "nodes:\n  - {name: here, host: 127.0.0.1, transport: local%s}\n"


def bring_in(more: str) -> str:
    import_inventory((NODE % more).encode(), filename="inventory.yaml", actor=SYSTEM)
    return Node.objects.get().delivery


def test_a_node_is_sent_its_packages_unless_the_file_says_that_it_pulls() -> None:
    assert bring_in("") == Delivery.PUSH
    assert bring_in(", delivery: pull") == Delivery.PULL
    assert bring_in("") == Delivery.PULL
    assert bring_in(", delivery: push") == Delivery.PUSH


def test_any_other_delivery_is_refused_with_its_line() -> None:
    with pytest.raises(InventoryFileError) as refusal:
        bring_in(", delivery: carrier")

    (problem,) = refusal.value.problems
    assert problem.attr == "nodes.0.delivery"
    assert problem.detail.startswith("inventory.yaml:2: ")


def test_the_admins_form_offers_it() -> None:
    assert [value for value, _label in NodeForm().fields["delivery"].choices] == ["push", "pull"]  # type: ignore[attr-defined]
