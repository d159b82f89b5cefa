from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from releasesite.doctor import Finding, Verdict
from releasesite.examinations import EXAMINATIONS, examine

EVERY = "of each"


class Command(BaseCommand):
    help = "Checks what may keep the system from starting or working, and says what to do. Exit status 1: something is BAD."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fix-hint",
            nargs="?",
            const=EVERY,
            metavar="ID",
            help="also what to type for each thing found; with an ID such as release.E006 for that alone, checking nothing",
        )

    def handle(self, *, fix_hint: str | None, **options: Any) -> None:
        if fix_hint not in (None, EVERY):
            self.stdout.write(fix_of(number_of(str(fix_hint))))
            return
        verdicts = []
        for finding in examine():
            verdicts.append(finding.verdict)
            self._tell(finding, with_fix=fix_hint == EVERY)
        if Verdict.BAD in verdicts:
            sys.exit(1)

    def _tell(self, finding: Finding, *, with_fix: bool) -> None:
        of_check = f" ({finding.id})" if finding.id else ""
        self.stdout.write(f"{self._styled(finding.verdict)} {finding.said}{of_check}")
        if finding.advice:
            self.stdout.write(f"     → {finding.advice}")
        if with_fix and finding.id:
            for line in fix_of(finding.number).splitlines():
                self.stdout.write(f"       {line}")

    def _styled(self, verdict: Verdict) -> str:
        text = verdict.value.ljust(4)
        match verdict:
            case Verdict.GOOD:
                return self.style.SUCCESS(text)
            case Verdict.NOTE:
                return self.style.WARNING(text)
            case Verdict.BAD:
                return self.style.ERROR(text)


def fix_of(number: int) -> str:
    return next(examination.fix for examination in EXAMINATIONS if examination.number == number)


def number_of(check_id: str) -> int:
    for examination in EXAMINATIONS:
        if check_id in (f"release.E{examination.number:03}", f"release.W{examination.number:03}"):
            return examination.number
    raise CommandError(f"{check_id} is the id of none of our checks: release.E001 to release.W{len(EXAMINATIONS):03}.")
