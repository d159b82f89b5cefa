"""`manage.py worker`: a worker host's one process."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import suppress
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django_q.conf import Conf

from deploys.packages import sources
from deploys.queue.names import QUEUES


class Command(BaseCommand):
    help = "Runs this host's workers until SIGTERM or Ctrl-C. Run one on each of any number of hosts."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--paused", action="store_true", help="claim nothing until SIGUSR1; syncs read what runs all the same"
        )
        parser.add_argument("--cluster", choices=QUEUES, help=argparse.SUPPRESS)

    def handle(self, *, cluster: str | None, paused: bool, **options: Any) -> None:
        logging.getLogger("django-q").setLevel(logging.WARNING)  # Its INFO is several lines for each probe.
        if cluster is None:
            # Ends the process here, and not a thread of it, where there is no database to wait for at all.
            with suppress(psycopg.OperationalError):
                connection.get_connection_params()
            _check_sources()
            from deploys.host.supervisor import Supervisor

            Supervisor(is_paused=paused).run()
            return
        assert cluster == Conf.CLUSTER_NAME, "the supervisor sets Q_CLUSTER_NAME"
        from deploys.host.cluster_main import run_cluster

        sys.exit(run_cluster())


def _check_sources() -> None:
    """Ends the process here, with one line, when the file can't be used."""
    if settings.SOURCES_FILE:
        try:
            sources.read(settings.SOURCES_FILE)
        except sources.SourcesError as error:
            print(error, file=sys.stderr)
            sys.exit(1)
