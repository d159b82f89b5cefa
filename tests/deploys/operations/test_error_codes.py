"""Why a target failed is one of the codes of a list, each with a label and advice; nothing else can be written."""

from __future__ import annotations

import pytest
from django.utils import translation

from deploys.error_codes import ErrorCode
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.packages.errors import PackageError
from deploys.states import TargetStatus
from deploys.told import verbatim
from inventory.actors import SYSTEM
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

SLIP: ErrorCode = "package_unreachabel"  # type: ignore[assignment]


def test_each_code_says_what_has_gone_wrong_and_what_to_do_in_both_languages() -> None:
    for code in ErrorCode:
        english = {code.label, code.advice}
        with translation.override("zh-hans"):
            chinese = {code.label, code.advice}

        assert "" not in english
        assert not english & chinese, f"{code} is not translated"


def test_a_code_that_is_not_of_the_list_is_never_written(db: None) -> None:
    fleet = make_instances(make_service(), make_node())
    request = DeployRequest(
        service="user-service", version="v1", instances=ids(fleet), package_url="http://p.example/v1"
    )
    target = start_deploy(access=SCHEDULER, request=request).targets.select_related("operation").first()
    assert target is not None

    with pytest.raises(ValueError, match=SLIP):
        apply_moves([Move.of(MovableTarget.of(target), to=TargetStatus.FAILED, actor=SYSTEM, error_code=SLIP)])

    target.refresh_from_db()
    assert (target.status, target.error_code) == (TargetStatus.PENDING, "")


def test_a_package_is_not_refused_with_a_code_that_is_not_of_the_list() -> None:
    with pytest.raises(ValueError, match=SLIP):
        raise PackageError(SLIP, verbatim("The host does not answer."))
