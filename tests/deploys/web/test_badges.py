"""States are called as their choices call them; a badge adds an icon and a tone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db.models import TextChoices
from django.template import Context, Template
from django.utils import translation
from django.utils.html import escape

from deploys.badges import badge
from deploys.error_codes import ErrorCode
from deploys.states import Kind, OperationStatus, Source, Step, TargetStatus
from inventory.actors import ActorKind
from inventory.console.badges import Look, badges
from inventory.models import Health, RunStatus

FAMILIES = {
    "operation": OperationStatus,
    "target": TargetStatus,
    "source": Source,
    "kind": Kind,
    "step": Step,
    "run": RunStatus,
    "health": Health,
    "actor": ActorKind,
}
SPRITE = Path(__file__).parents[3] / "releasesite/static/console/icons.svg"


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize(("family", "choices"), FAMILIES.items(), ids=FAMILIES)
def test_each_choice_is_shown_with_its_own_label_and_an_icon_that_there_is(
    family: str, choices: type[TextChoices], language: str
) -> None:
    icons = set(re.findall(r'<symbol id="([\w-]+)"', SPRITE.read_text()))
    with translation.override(language):
        for choice in choices:
            shown = badge(family, choice.value)

            assert str(shown.label) == str(choice.label)
            assert shown.icon in icons


def test_a_choice_without_a_look_is_noticed_at_once() -> None:
    with pytest.raises(KeyError):
        badges(Kind, {Kind.DEPLOY: Look("rocket")})


def test_what_a_newer_version_calls_a_state_is_shown_as_it_is() -> None:
    text = rendered('{% chip "operation" "paused" %}')

    assert "paused" in text


def test_an_error_code_explains_itself_and_an_unknown_one_is_said_to_have_failed() -> None:
    template = "{% with why=code|explanation %}{{ why.label }}: {{ why.advice }}{% endwith %}"

    lost = ErrorCode.WORKER_LOST
    assert rendered(template, code="worker_lost") == escape(f"{lost.label}: {lost.advice}")
    assert rendered(template, code="no_such_code") == "It failed: Read the log, then retry or roll back."


def rendered(template: str, **context: object) -> str:
    return Template("{% load badges %}" + template).render(Context(context))
