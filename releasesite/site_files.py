"""Where the files lie that are no code of a package: templates, locale, manage.py, gunicorn.conf.py, collected static files.

In a checkout that is the checkout; a wheel has them inside this package (pyproject.toml, `force-include`).
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
IS_CHECKOUT = (_PACKAGE.parent / "manage.py").is_file()
SITE_FILES = _PACKAGE.parent if IS_CHECKOUT else _PACKAGE / "_files"
COMMAND = "python manage.py" if IS_CHECKOUT else "release-server"
DEFAULT_DATA_DIR = SITE_FILES / "var" if IS_CHECKOUT else Path("/var/lib/release")
