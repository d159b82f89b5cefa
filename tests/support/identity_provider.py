"""A real identity provider in a process of its own: django-oauth-toolkit over HTTPS and SQLite.

Its people log in with PASSWORD; their groups are a file's, which a test may change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.ports import accepts, free_port
from tests.support.tls import self_signed
from tests.support.worker import wait_for

CLIENT_ID, SECRET, PASSWORD = "releases", "sesame-open-sesame", "correct horse battery"
FOLDER = "IDENTITY_PROVIDER_FOLDER"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class IdentityProvider:
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.url}/o"

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.pem"

    def set_groups(self, **groups: list[str]) -> None:
        (self.folder / "groups.json").write_text(json.dumps(groups))

    def variables(self) -> dict[str, str]:
        """For a web process whose people log in here."""
        (self.folder / "secret").write_text(f"{SECRET}\n")
        return {
            "RELEASE_OIDC_ISSUER": self.issuer,
            "RELEASE_OIDC_NAME": "Example Login",
            "RELEASE_OIDC_CLIENT_ID": CLIENT_ID,
            "RELEASE_OIDC_CLIENT_SECRET_FILE": str(self.folder / "secret"),
            "RELEASE_OIDC_CA_FILE": str(self.certificate),
            "RELEASE_OIDC_VIEWER_GROUPS": "staff",
            "RELEASE_OIDC_OPERATOR_GROUPS": "operators, sre",
        }


@contextmanager
def identity_provider(folder: Path, *, site: str) -> Iterator[IdentityProvider]:
    """site: where its one client is, such as http://127.0.0.1:8000."""
    provider = IdentityProvider(port=free_port(), folder=folder)
    self_signed(["localhost"], provider.certificate)
    environment = {**os.environ, FOLDER: str(folder), "DJANGO_SETTINGS_MODULE": __name__, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", __name__, site, provider.issuer], cwd=ROOT, env=environment, check=True, timeout=60
    )
    tls = f"--certfile={provider.certificate}", f"--keyfile={provider.certificate}"
    bound = f"--bind=127.0.0.1:{provider.port}", "--config=/dev/null", "--threads=4"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", f"{__name__}:application()", *bound, *tls],
        cwd=folder, env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: accepts(provider.port), what="identity provider", log=None)
        # Its first answer takes longest: nobody who logs in should wait for that.
        known = requests.get(
            f"{provider.issuer}/.well-known/openid-configuration", verify=str(provider.certificate), timeout=60
        )
        known.raise_for_status()
        yield provider
    finally:
        process.terminate()
        process.wait(timeout=30)


# Below: what runs in that process, whose settings and routes this module is.

if os.environ.get("DJANGO_SETTINGS_MODULE") == "tests.support.identity_provider":
    _folder = Path(os.environ[FOLDER])
    ROOT_URLCONF = "tests.support.identity_provider_urls"
    SECRET_KEY = "of-the-provider-0123456789-abcdefghijklmnop"
    ALLOWED_HOSTS = ["localhost"]
    USE_TZ = True
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _folder / "people.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    INSTALLED_APPS = [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "provider_session", "provider_csrf"  # cookies know no ports
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    LOGIN_URL = "/login"
    OAUTH2_PROVIDER = {
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": (_folder / "key.pem").read_text() if (_folder / "key.pem").exists() else "",
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
        "OAUTH2_VALIDATOR_CLASS": "tests.support.identity_provider_urls.Validator",
        "SCOPES": {"openid": "who you are", "profile": "your name and groups", "email": "your address"},
        "PKCE_REQUIRED": True,
    }


def application() -> Any:
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def _set_up(site: str, issuer: str) -> None:
    import django
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (Path(os.environ[FOLDER]) / "key.pem").write_bytes(pem)
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    for name in ("ada", "bob"):
        User.objects.create_user(name, password=PASSWORD)
    Application.objects.create(
        client_id=CLIENT_ID,
        client_secret=SECRET,
        client_type="confidential",
        authorization_grant_type="authorization-code",
        algorithm="RS256",
        skip_authorization=True,
        redirect_uris=f"{site}/login/oidc/callback",
        post_logout_redirect_uris=f"{site}/login",
    )


if __name__ == "__main__":
    _set_up(*sys.argv[1:])
