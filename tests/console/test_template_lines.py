"""Templates are read, reviewed and merged by the line."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

MOST = 200


def _templates() -> list[Path]:
    base = Path(settings.BASE_DIR)
    return sorted([*base.glob("templates/**/*.html"), *base.glob("*/templates/**/*.html")])


def test_no_line_of_a_template_is_too_long_to_be_read() -> None:
    templates = _templates()
    assert len(templates) > 50
    too_long = [
        f"{path.relative_to(settings.BASE_DIR)}:{number}: {len(line)} characters"
        for path in templates
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MOST
    ]
    assert too_long == []
