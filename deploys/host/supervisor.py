"""The supervisor: starts the clusters, keeps them going, reassigns what dead workers left, and stops cleanly."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from types import FrameType

from django.conf import settings

from deploys.events.retention import prune_deliveries
from deploys.host import presence
from deploys.host.chores import Chore, ChoreThread
from deploys.host.cluster import Cluster
from deploys.host.reaper import reap
from deploys.host.store_retention import prune_store
from deploys.operations.hold import end_expired_holds
from deploys.operations.restored import accept, is_restored, unless_restored
from deploys.queue.names import QUEUES
from deploys.webhooks.sender import Sender
from inventory.database import sessions
from inventory.database.tallies import flush_regularly
from inventory.instances.sync_queue import enqueue_due_syncs

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
# From the signal on. Promised are 30 s for all of it; what is left is for ending processes on a starved machine.
DRAIN_SECONDS = 25.0
END_SECONDS = 29.0
LEAVE_SECONDS = 2.0
STATEMENT_TIMEOUT = "20s"


class Supervisor:
    """Run it in the main thread of a process of its own. Any number may run on one host.

    is_paused: its clusters claim nothing, and it reassigns and sends nothing, until SIGUSR1; what runs is read, and a
    stop is one like any other. In a restored database that is so without being asked for.
    """

    def __init__(self, *, is_paused: bool = False) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._is_stopping = False
        self._asked_to_stop_at = 0.0
        self._is_paused = is_paused
        self._is_restored = False
        self._is_asked_to_resume = False
        self._shutdown_pipe_read, self._shutdown_pipe_write = os.pipe()
        # Made after the other: a process that dies closes them in this order, so that nobody resumes by its death.
        self._pause_pipe: tuple[int, int] | None = os.pipe() if is_paused else None
        self._clusters = [
            Cluster(
                queue=queue,
                worker_name=self.name,
                shutdown_pipe_fd=self._shutdown_pipe_read,
                pause_pipe_fd=self._pause_pipe[0] if self._pause_pipe else None,
            )
            for queue in QUEUES
        ]
        self._threads = [
            ChoreThread("watch", [Chore(name="watch", every_seconds=1.0, run=self._watch)], at_the_end=self._leave)
        ]

    def _start_threads(self) -> None:
        syncs = Chore(name="sync", every_seconds=15.0, run=enqueue_due_syncs)
        self._threads += [ChoreThread("sync", [syncs])] if self._is_paused else self._working_threads(syncs)
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()

    def _working_threads(self, syncs: Chore) -> list[ChoreThread]:
        """A reaper that waits for a lock must not silence the heartbeat, nor either of them keep webhooks waiting."""
        sender = Sender()
        return [
            ChoreThread(
                "reassign",
                [
                    Chore(name="reaper", every_seconds=4.0, run=unless_restored(reap)),
                    Chore(name="holds", every_seconds=5.0, run=unless_restored(end_expired_holds)),
                    syncs,
                    Chore(name="clean-up", every_seconds=60.0, run=presence.clear_after_the_vanished),
                    Chore(name="package store", every_seconds=3600.0, run=unless_restored(prune_store)),
                    Chore(name="webhook deliveries", every_seconds=3600.0, run=unless_restored(prune_deliveries)),
                ],
            ),
            ChoreThread(
                "webhooks",
                [Chore(name="webhooks", every_seconds=0.5, run=unless_restored(sender.turn))],
                at_the_end=sender.leave,
            ),
        ]

    def run(self) -> None:
        """Returns after SIGTERM or SIGINT, within 30 s and with no process left; or ends this process, with status 1."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_resume)
        signal.signal(signal.SIGALRM, self._on_alarm)
        sessions.set_for_all({"statement_timeout": STATEMENT_TIMEOUT})
        logger.info("worker %s: starting %s, %d processes each", self.name, " and ".join(QUEUES), settings.WORKERS)
        if self._is_paused:
            logger.warning("worker %s: paused, nothing is claimed until SIGUSR1: kill -USR1 %d", self.name, os.getpid())
        self._start_threads()
        flush_regularly()
        while not self._is_stopping:
            if self._is_paused and self._is_asked_to_resume:
                self._resume()
            for cluster in self._clusters:
                cluster.tend()
            time.sleep(TICK_SECONDS)
        self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._asked_to_stop_at = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, END_SECONDS)

    def _on_resume(self, number: int, frame: FrameType | None) -> None:
        self._is_asked_to_resume = True

    def _resume(self) -> None:
        assert self._pause_pipe is not None
        logger.info("worker %s: resumed", self.name)
        *_, looking = self._threads
        looking.stop()
        looking.join()
        self._threads.remove(looking)
        self._is_paused = False
        os.close(self._pause_pipe[1])
        self._start_threads()

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        """The stop still waits, for a log that nobody reads say. Our end is that of the clusters.

        Nothing is said of it here: that might wait too.
        """
        os._exit(1)

    def _stop(self) -> None:
        os.close(self._shutdown_pipe_write)
        for cluster in self._clusters:
            cluster.ask_to_stop()
        logger.info("worker %s: stopping, at most %.0f s", self.name, DRAIN_SECONDS)
        self._await_clusters(self._asked_to_stop_at + DRAIN_SECONDS)
        for cluster in self._clusters:
            if cluster.is_running:
                logger.warning("cluster %s: not done in %.0f s: killed", cluster.queue, DRAIN_SECONDS)
            cluster.kill()
        self._stop_threads(time.monotonic() + LEAVE_SECONDS)
        logger.info("worker %s: stopped", self.name)

    def _await_clusters(self, deadline: float) -> None:
        while time.monotonic() < deadline and any(cluster.is_running for cluster in self._clusters):
            time.sleep(TICK_SECONDS)

    def _stop_threads(self, deadline: float) -> None:
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _watch(self) -> None:
        self._look_whether_restored()
        worker_id = presence.beat(self.name, is_paused=self._is_paused or self._is_restored)
        for cluster in self._clusters:
            cluster.watch.look(worker_id)

    def _look_whether_restored(self) -> None:
        before, self._is_restored = self._is_restored, is_restored()
        if self._is_asked_to_resume and not self._is_paused:
            self._is_asked_to_resume = False
            if self._is_restored:
                accept()
                self._is_restored = False
        if self._is_restored and not before:
            logger.warning(
                "worker %s: paused, since the database was restored from a dump: see what would go on with `after_restore`, "
                "then `after_restore --resume`, or kill -USR1 %d",
                self.name,
                os.getpid(),
            )
        elif before and not self._is_restored:
            logger.info("worker %s: resumed", self.name)

    def _leave(self) -> None:
        presence.leave(self.name)
