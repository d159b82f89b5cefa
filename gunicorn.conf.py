"""Found by `gunicorn releasesite.wsgi` in the folder it is started in."""

from __future__ import annotations

from pathlib import Path

from inventory.database import tallies
from releasesite import environment, logs
from releasesite.embedded_postgres import programs

# A bad variable stops the master here; in a worker it would be started again and again.
_environment = environment.read()
if _environment.database is None:
    programs.require(_environment.data_dir)


def post_worker_init(_worker: object) -> None:
    logs.tell_uncaught()
    tallies.flush_regularly()


# One object a line from the first line on: gunicorn's own come by the same handler as ours.
logconfig_dict = logs.configure(for_people=_environment.debug)
worker_class = "gthread"
workers = 2
threads = 4
timeout = 60
graceful_timeout = 20
keepalive = 5
control_socket_disable = True
forwarded_allow_ips = ",".join(("127.0.0.1", "::1", *_environment.trusted_proxies))
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"
