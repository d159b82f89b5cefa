"""How a refusal names an operation, in the language of whoever is refused."""

from __future__ import annotations

from django.utils.translation import gettext as _

from deploys.models import Operation
from deploys.states import Kind


def kind_word(kind: str) -> str:
    """deploy or rollback, as a word inside of a sentence."""
    return _("rollback") if kind == Kind.ROLLBACK else _("deploy")


def named(operation: Operation) -> dict[str, str]:
    """`kind` and `id`, for a sentence's holes."""
    return {"kind": kind_word(operation.kind), "id": operation.public_id}


def no_such_instance(operation: Operation, instance_id: str) -> str:
    """Of an instance that is none of the operation's."""
    return _("%(kind)s '%(id)s' has no instance '%(instance)s'.") % {**named(operation), "instance": instance_id}
