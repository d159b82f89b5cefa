from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeploysConfig(AppConfig):
    name = "deploys"
    verbose_name = _("Deploys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from deploys.models import Target
        from deploys.states import ACTIVE
        from inventory.instances.held import answer_with

        answer_with(lambda: Target.objects.filter(status__in=ACTIVE))
