from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from inventory.instances import drift, in_progress


class DeploysConfig(AppConfig):
    name = "deploys"
    verbose_name = _("Deploys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from deploys.events.drift import DriftEvents
        from deploys.operations.in_progress import OurOperations
        from deploys.queue.names import ROLLBACKS
        from inventory.instances import sync_queue

        in_progress.operations = OurOperations()
        sync_queue.queue = ROLLBACKS
        drift.listener = DriftEvents()
