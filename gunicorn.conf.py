"""Found by `gunicorn releasesite.wsgi` in the folder it is started in."""

from __future__ import annotations

from pathlib import Path

from releasesite import environment
from releasesite.embedded_postgres import programs

# A bad variable stops the master here; in a worker it would be started again and again.
_environment = environment.read()
if _environment.database is None:
    programs.require(_environment.data_dir)

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
