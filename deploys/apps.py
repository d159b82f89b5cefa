from django.apps import AppConfig


class DeploysConfig(AppConfig):
    name = "deploys"
    default_auto_field = "django.db.models.BigAutoField"
