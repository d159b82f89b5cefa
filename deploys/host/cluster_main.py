"""What runs in a cluster's main process: `manage.py worker --cluster QUEUE`, started by the supervisor alone."""

from __future__ import annotations

import multiprocessing
import os

from django.db import Error, connection
from django_q.cluster import Cluster
from django_q.signals import post_spawn

import deploys.tasks  # noqa: F401  (loaded here, before the fork, and not by each worker at its first task)
import inventory.tasks  # noqa: F401
from deploys.host.parent_death import bind_every_fork, die_with_parent
from inventory.database.tallies import flush_regularly

SUPERVISOR_PID = "RELEASE_SUPERVISOR_PID"


def run_cluster() -> int:
    """The exit status. SIGTERM ends it once the tasks that run are done; django-q2 sets up the signals."""
    die_with_parent(int(os.environ[SUPERVISOR_PID]))
    bind_every_fork()
    multiprocessing.set_start_method("fork", force=True)
    post_spawn.connect(_connect_early)
    cluster = Cluster()
    cluster.start()
    cluster.sentinel.join()
    return 1 if cluster.sentinel.exitcode else 0


def _connect_early(**_: object) -> None:
    """In each worker, so that its first task need not wait for it."""
    flush_regularly()
    try:
        connection.ensure_connection()
    except Error:  # that task will meet it
        connection.close()
