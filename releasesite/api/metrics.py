"""`/metrics` for Prometheus: read from the database at each scrape, so that any web process tells of the whole system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.db import Error
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Q
from django.db.models.functions import Now
from django.http import HttpResponse
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from deploys.measures import COUNTERS, HISTOGRAMS
from deploys.models import Hold, Operation, Target, Worker
from deploys.operations.progress import UNFINISHED, with_status
from deploys.queue.names import QUEUES
from deploys.states import ACTIVE, Kind, TargetStatus
from deploys.webhook_models import WebhookDelivery
from inventory.database import tallies
from inventory.drift import DRIFTED
from inventory.models import Instance, RunStatus
from inventory.security.access import Access, Scope
from releasesite.api.measures import API
from releasesite.api.probes import SEEN_WITHIN


class ReadsEverything(BasePermission):
    """A caller that may read every service: the numbers are of all of them.

    From wherever it calls. Behind a proxy on this machine that adds no header every caller seems to be on loopback.
    """

    code = "scope_missing"
    message = "This needs the scope 'read' for all services."

    def has_permission(self, request: Request, view: APIView) -> bool:
        access: Access | None = getattr(request, "access", None)
        return access is not None and access.allows(Scope.READ) and access.services is None


class Metrics(APIView):
    permission_classes = (ReadsEverything,)
    throttle_classes = ()
    schema = None

    def get(self, request: Request) -> HttpResponse:
        with suppress(Error):  # a database that takes no writes
            tallies.flush()
        registry = CollectorRegistry()
        registry.register(DatabaseCollector())
        registry.register(TallyCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class TallyCollector(Collector):
    """What has been counted since the database was set up, by all processes together."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        totals = tallies.totals()
        for counter in COUNTERS:
            found = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
            values = totals.get(counter.name, {})
            for labels, value in sorted(values.items()) or ([((), 0.0)] if not counter.labels else []):
                found.add_metric(labels, value)
            yield found
        for histogram in (*HISTOGRAMS, API):
            shown = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
            for values_of, counts in tallies.series(totals.get(histogram.name, {}), histogram):
                shown.add_metric(values_of, histogram.buckets(counts), counts.get("sum", 0))
            yield shown


class DatabaseCollector(Collector):
    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._operations()
        yield self._targets()
        yield self._oldest_pending()
        yield from self._workers()
        yield self._queue()
        yield self._webhook_deliveries()
        yield self._held()
        yield from self._instances()

    def _operations(self) -> Metric:
        found = GaugeMetricFamily("release_operations", "Unfinished operations.", labels=("kind", "status"))
        for kind in Kind:
            for status in UNFINISHED:
                found.add_metric((kind, status), with_status(Operation.objects.filter(kind=kind), status).count())
        return found

    def _targets(self) -> Metric:
        found = GaugeMetricFamily("release_targets", "Instances in unfinished operations.", labels=("kind", "status"))
        rows = Target.objects.filter(status__in=ACTIVE).values_list("kind", "status").annotate(count=Count("pk"))
        counts = {(kind, status): count for kind, status, count in rows.order_by()}
        for kind in Kind:
            for status in ACTIVE:
                found.add_metric((kind, status), counts.get((kind, status), 0))
        return found

    def _oldest_pending(self) -> Metric:
        found = GaugeMetricFamily(
            "release_oldest_pending_seconds", "How long the longest waiting instance has waited.", labels=("kind",)
        )
        age = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
        rows = Target.objects.filter(status=TargetStatus.PENDING).values_list("kind").annotate(age=Max(age)).order_by()
        ages = dict(rows)
        for kind in Kind:
            found.add_metric((kind,), ages[kind].total_seconds() if kind in ages else 0)
        return found

    def _workers(self) -> Iterator[Metric]:
        alive = Worker.objects.filter(seen_at__gte=Now() - SEEN_WITHIN)
        counts = dict(alive.values_list("is_paused").annotate(count=Count("pk")).order_by())
        for name, said, is_paused in (
            ("release_workers", "Worker hosts that are alive.", False),
            ("release_workers_paused", "Worker hosts that are alive and claim nothing.", True),
        ):
            yield GaugeMetricFamily(name, said, value=counts.get(is_paused, 0))

    def _queue(self) -> Metric:
        found = GaugeMetricFamily(
            "release_queue_messages", "Wake-up messages that nobody has taken.", labels=("queue",)
        )
        counts = dict(OrmQ.objects.filter(key__in=QUEUES).values_list("key").annotate(count=Count("pk")).order_by())
        for queue in QUEUES:
            found.add_metric((queue,), counts.get(queue, 0))
        return found

    def _webhook_deliveries(self) -> Metric:
        found = GaugeMetricFamily(
            "release_webhook_deliveries",
            "Events that a webhook has not got: still to be sent, or given up within the last 30 days.",
            labels=("status",),
        )
        counts = WebhookDelivery.objects.filter(webhook__is_active=True).exclude(status=WebhookDelivery.Status.SENT)
        by_status = dict(counts.values_list("status").annotate(count=Count("pk")).order_by())
        for status in (WebhookDelivery.Status.PENDING, WebhookDelivery.Status.FAILED):
            found.add_metric((status,), by_status.get(status, 0))
        return found

    def _held(self) -> Metric:
        held = Hold.objects.active().count()
        return GaugeMetricFamily("release_services_held", "Services that take no deploys just now.", value=held)

    def _instances(self) -> Iterator[Metric]:
        families = (
            GaugeMetricFamily("release_instances", "Instances.", labels=("service",)),
            GaugeMetricFamily(
                "release_instances_failed", "Instances whose last operation failed them.", labels=("service",)
            ),
            GaugeMetricFamily(
                "release_instances_drifted",
                "Instances whose link or process is of another version than expected.",
                labels=("service",),
            ),
        )
        failed = Count("pk", filter=Q(run_status=RunStatus.FAILED))
        rows = (
            Instance.objects.listed()
            .values_list("service__name")
            .annotate(count=Count("pk"), failed=failed, drifted=Count("pk", filter=DRIFTED))
        )
        for service, *counts in rows.order_by("service__name"):
            for family, count in zip(families, counts, strict=True):
                family.add_metric((service,), count)
        yield from families
