"""Settings, all from the environment (CONTRACT.md, "Environment"). A bad value stops the process, naming it."""

from __future__ import annotations

import os
from pathlib import Path

import dj_database_url
from environs import Env

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
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware"]
Q_CLUSTER = {"name": "deploys", "orm": "default"}
