from django.apps import AppConfig


class ReleaseSiteConfig(AppConfig):
    name = "releasesite"
    default_auto_field = "django.db.models.BigAutoField"
