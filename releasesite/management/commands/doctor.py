from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from releasesite.doctor import Verdict, examine


class Command(BaseCommand):
    help = "Checks what may keep the system from starting or working, and says what to do."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        verdicts = []
        for finding in examine():
            verdicts.append(finding.verdict)
            self.stdout.write(f"{self._styled(finding.verdict)} {finding.said}")
            if finding.advice:
                self.stdout.write(f"     → {finding.advice}")
        if Verdict.BAD in verdicts:
            sys.exit(1)

    def _styled(self, verdict: Verdict) -> str:
        text = verdict.value.ljust(4)
        match verdict:
            case Verdict.GOOD:
                return self.style.SUCCESS(text)
            case Verdict.NOTE:
                return self.style.WARNING(text)
            case Verdict.BAD:
                return self.style.ERROR(text)
