"""Settings, all from the environment (CONTRACT.md, "Environment"). A bad value stops the process, naming it."""

from __future__ import annotations

import logging
import sys
import warnings
from datetime import timedelta
from typing import Any

from inventory.security.redaction import TOKEN_PREFIX, register_secret
from releasesite import __version__, data_folder, environment, logs, secret_key
from releasesite.site_files import SITE_FILES

BASE_DIR = SITE_FILES
_env = environment.read()

DATA_DIR = _env.data_dir
VERSION = __version__
if not secret_key.is_not_needed():
    data_folder.prepare(DATA_DIR, has_database=_env.database is None)
DEBUG = _env.debug
ALLOWED_HOSTS = _env.allowed_hosts
CSRF_TRUSTED_ORIGINS = _env.csrf_trusted_origins
try:
    SECRET_KEY = _env.secret_key or secret_key.stored_or_passing(DATA_DIR)
except OSError as error:
    environment.stop({"RELEASE_DATA_DIR": f"cannot be used to keep the secret key in ({error}): set it, or SECRET_KEY"})

# What may never be read in a log, a page, an answer or a command's output.
_proxy_secrets = _env.package_proxy.secrets if _env.package_proxy else ()
_oidc_secrets = _env.oidc.secrets if _env.oidc else ()
for _secret in (SECRET_KEY, _env.database_password, *_env.secrets, *_proxy_secrets, *_oidc_secrets):
    register_secret(_secret)

PACKAGE_HOSTS = _env.package_hosts
PACKAGE_PROXY = _env.package_proxy
SOURCES_FILE = _env.sources_file
WEBHOOK_HOSTS = _env.webhook_hosts
PACKAGE_MAX_BYTES = _env.package_max_bytes
SSH_KEY_FILE = _env.ssh_key_file
WORKERS = _env.workers
CONCURRENCY = _env.concurrency
LOCAL_NODES = _env.local_nodes
SYNC_SECONDS = _env.sync_seconds
TRUSTED_PROXIES = _env.trusted_proxies
REAUTH_ABOVE = _env.reauth_above
PUBLIC_URL = _env.public_url
OIDC = _env.oidc

INSTALLED_APPS = [
    "releasesite",
    "inventory",
    "deploys",
    "rollbacks",
    "releasesite.admin_site.ReleaseAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "knox",
    "drf_standardized_errors",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_q",
    "django_structlog",
    "csp",
    "axes",
]
MIDDLEWARE = [
    "releasesite.api.middleware.RequestIdMiddleware",
    "releasesite.api.measures.MeasuringMiddleware",
    "releasesite.api.middleware.AnswerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    # Before the login is known: to log who calls would take a query, and the probes must answer without a database.
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "releasesite.viewer_timezone.in_viewer_timezone",
    "releasesite.api.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "releasesite.api.middleware.AccessMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "releasesite.urls"
WSGI_APPLICATION = "releasesite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "releasesite.context_processors.console",
            ]
        },
    }
]

# The database. A peer that has gone silent is noticed within some 15 s, not after TCP's own two hours.
_NOTICE_SILENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_EMBEDDED: dict[str, Any] = {
    "ENGINE": "releasesite.embedded_postgres",
    "NAME": "release",
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
}
DATABASES: dict[str, dict[str, Any]] = {"default": _env.database or _EMBEDDED}
if _env.database:
    _env.database["OPTIONS"] = {**_NOTICE_SILENCE, **_env.database.get("OPTIONS", {})}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Our own token model takes the place of knox's, whose migrations would make its table all the same.
MIGRATION_MODULES: dict[str, str | None] = {"knox": None}

# Language and time
USE_TZ = True
TIME_ZONE = "UTC"
# One form of times in both languages, as in the console: 2026-11-27 16:05:09.
FORMAT_MODULE_PATH = ["releasesite.formats"]
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]

# Static files. Before `collectstatic` has run they are served from where they lie, so that a checkout just works.
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
_IS_COLLECTED = (STATIC_ROOT / "staticfiles.json").is_file() or sys.argv[1:2] == ["collectstatic"]
WHITENOISE_USE_FINDERS = not _IS_COLLECTED
warnings.filterwarnings("ignore", message="No directory at")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if WHITENOISE_USE_FINDERS
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# People's logins
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"
SESSION_COOKIE_AGE = 12 * 3600  # a day's work, not Django's two weeks
AXES_HANDLER = "releasesite.login.limits.LoginLimits"
AXES_FAILURE_LIMIT = 10
LOGIN_FAILURES_OF_A_NAME = 100
LOGIN_FAILURES_FROM_AN_ADDRESS = 50
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_CALLABLE = "releasesite.login.names.counted_name"
# Attempts are kept with what was posted: nothing of that may be a secret, a rollback's package URL included.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "package_url", "csrfmiddlewaretoken"]
AXES_CLIENT_IP_CALLABLE = "releasesite.api.addresses.client_address"
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_VERBOSE = False

# What browsers are told. An https:// origin in CSRF_TRUSTED_ORIGINS says that the site is served over TLS.
# gunicorn tells TLS from X-Forwarded-Proto, if loopback or one of RELEASE_TRUSTED_PROXIES sent it (gunicorn.conf.py).
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _env.is_served_over_https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if _env.is_served_over_https else 0
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "releasesite.views.csrf_failure"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: whether those speak TLS too is not ours to say.
    "security.W021",  # HSTS preload: the same.
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

LOGGING = logs.configure(for_people=DEBUG)
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
# releasesite.logs says who called and from where: theirs would take a query, and believe any X-Forwarded-For.
DJANGO_STRUCTLOG_USER_ID_FIELD = ""
# RequestIdMiddleware has looked at it, and put one of ours in the place of what is not safe.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False

# A message may be lost (deploys/queue/broker.py): nothing is retried by the queue, nor kept as a result.
Q_CLUSTER = {
    "name": "deploys",
    "ALT_CLUSTERS": {"rollbacks": {}},
    "broker_class": "deploys.queue.broker.NotifyBroker",
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

# The HTTP API. `urgent`: rollbacks, cancels, confirms and holds (`inventory.wire.budgets`).
API_CALLS_PER_MINUTE = {"read": 6000, "write": 600, "urgent": 600}
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
    "DEFAULT_METADATA_CLASS": "releasesite.api.metadata.Methods",
    "EXCEPTION_HANDLER": "releasesite.api.errors.handle_exception",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Release execution system",
    "DESCRIPTION": "Deploys versions of services to instances, rolls them back, and knows what runs where.\n\n"
    "A caller may read {read} times a minute, and write {write} times; rollbacks, cancels, confirms and holds have {urgent} "
    "calls a minute of their own. Beyond that the answer is 429 `throttled`, and `Retry-After` says how many seconds to "
    "wait.".format(**API_CALLS_PER_MINUTE),
    "VERSION": VERSION,
    "SERVERS": [{"url": PUBLIC_URL or "/", "description": "This release execution system."}],
    "TAGS": [
        {"name": "Deploys", "description": "Put a version on instances, watch, stop and retry it."},
        {"name": "Rollbacks", "description": "Take instances back, before any deploy."},
        {"name": "Services and instances", "description": "What runs where, and how it is."},
        {"name": "Inventory", "description": "Which services, nodes and instances there are."},
    ],
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["releasesite.api.permissions.ScopePermission"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": False, "persistAuthorization": False},
    "POSTPROCESSING_HOOKS": ["releasesite.api.schema.refuse_unknown_keys", "releasesite.api.examples.add_examples"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
