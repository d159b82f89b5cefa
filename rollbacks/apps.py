from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RollbacksConfig(AppConfig):
    name = "rollbacks"
    verbose_name = _("Rollbacks")
    default_auto_field = "django.db.models.BigAutoField"
