"""Settings, all from the environment (CONTRACT.md, "Environment"). A bad value stops the process, naming it."""

from __future__ import annotations

import os
from pathlib import Path

import dj_database_url
from environs import Env

from inventory.redaction import TOKEN_PREFIX

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()

DATA_DIR = Path(env.str("RELEASE_DATA_DIR", str(BASE_DIR / "var"))).absolute()
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "interim")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost"])

PACKAGE_HOSTS: tuple[str, ...] = tuple(env.list("RELEASE_PACKAGE_HOSTS", []))
PACKAGE_MAX_BYTES: int = env.int("RELEASE_PACKAGE_MAX_BYTES", 2 * 1024**3)
SSH_KEY_FILE: str = env.str("RELEASE_SSH_KEY_FILE", "")
WORKERS: int = env.int("RELEASE_WORKERS", 2)
CONCURRENCY: int = env.int("RELEASE_CONCURRENCY", 100)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "knox",
    "drf_standardized_errors",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "releasesite",
    "inventory",
    "deploys",
    "rollbacks",
]
ROOT_URLCONF = "releasesite.urls"
DATABASES = {"default": {}}
if os.environ.get("DATABASE_URL"):
    DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None, conn_health_checks=True)}
else:
    DATABASES = {"default": {"ENGINE": "releasesite.embedded_postgres", "NAME": "release", "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}}
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]},
    }
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware", "releasesite.api.middleware.AccessMiddleware", "django.contrib.messages.middleware.MessageMiddleware"]
# A message is a hint and may be lost (deploys/broker.py): nothing is retried by the queue, nor kept as a result.
Q_CLUSTER = {
    "name": "deploys",
    "ALT_CLUSTERS": {"rollbacks": {}},
    "broker_class": "deploys.broker.NotifyBroker",
    "orm": "default",
    "workers": WORKERS,
    "queue_limit": 1,
    "timeout": 7 * 86_400,
    "retry": 8 * 86_400,
    "ack_failures": True,
    "save_limit": -1,
    "scheduler": False,
    "recycle": 5000,
}

# The HTTP API
TRUSTED_PROXIES: list[str] = env.list("RELEASE_TRUSTED_PROXIES", [])
API_CALLS_PER_MINUTE = {"read": 6000, "write": 600}
KNOX_TOKEN_MODEL = "releasesite.ApiToken"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": TOKEN_PREFIX}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "releasesite.api.authentication.BearerAuthentication",
        "releasesite.api.authentication.CsrfSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["releasesite.api.permissions.ScopePermission"],
    "DEFAULT_THROTTLE_CLASSES": ["releasesite.api.throttles.CallerThrottle"],
    "DEFAULT_PARSER_CLASSES": ["releasesite.api.parsers.OrjsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["releasesite.api.renderers.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "releasesite.api.negotiation.FirstRenderer",
    "DEFAULT_SCHEMA_CLASS": "releasesite.api.schema.ApiSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "releasesite.api.errors.handle_exception",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Release execution system",
    "DESCRIPTION": "Deploys versions of services to instances, rolls them back, and knows what runs where.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["releasesite.api.permissions.ScopePermission"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
    "POSTPROCESSING_HOOKS": ["releasesite.api.schema.refuse_unknown_keys"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
