"""What `doctor` examines, as a check of Django's framework; and what has to be well before web or worker start."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.db import connections

from releasesite import examinations
from releasesite.doctor import Finding, Verdict
from releasesite.examinations import Examination, examine

TAG = "release"
logger = logging.getLogger(__name__)


@checks.register(TAG, deploy=True)
def examine_deployment(
    app_configs: Any = None, databases: Sequence[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """`check --deploy`; what asks the database only with `--database default`, as Django's own checks do."""

    def is_meant(examination: Examination) -> bool:
        return not examination.is_local and (bool(databases) or not examination.needs_database)

    return [_message(finding) for finding in examine(is_meant) if finding.verdict is not Verdict.GOOD]


def _message(finding: Finding) -> checks.CheckMessage:
    level = checks.ERROR if finding.verdict is Verdict.BAD else checks.WARNING
    return checks.CheckMessage(level, finding.said, hint=finding.advice, id=finding.id)


def before_a_start() -> None:
    """Ends the process where web or worker could not work; a note goes into the log. A database that is away is waited for."""
    try:
        _check_before_start()
    finally:
        connections.close_all()


def _check_before_start() -> None:
    for finding in examine(lambda examination: examination.at_start):
        if finding.verdict is Verdict.NOTE or (
            finding.verdict is Verdict.BAD and finding.number == examinations.DATABASE
        ):
            logger.warning("%s %s", finding.said, finding.advice)
        elif finding.verdict is Verdict.BAD:
            print(f"{finding.id} {finding.said} {finding.advice}", file=sys.stderr)
            sys.exit(1)
