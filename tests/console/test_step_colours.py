"""Each step of a time bar has a colour: one without is black, and in the dark not to be seen."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles import finders

from deploys.states import Step
from deploys.web.pages.queries.operation import STEP_ORDER


@pytest.mark.parametrize("step", [Step.QUEUED, *STEP_ORDER])
def test_it_has_one(step: Step) -> None:
    sheet = finders.find("console/operation.css")
    assert isinstance(sheet, str)
    with open(sheet) as file:
        assert f"\n.s-{step} {{ fill: var(" in file.read()
