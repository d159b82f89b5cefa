"""What the admin's forms say under their fields: what a field is for, what it is when left alone, and an example."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

NAME = _("Letters, digits and `. _ + -`, such as `user-service`.")
COMMANDS = _(
    "They run on the node, by `sh`, in the folder of the release, with `RELEASE_SERVICE`, `RELEASE_VERSION`, "
    "`RELEASE_PREVIOUS_VERSION`, `RELEASE_INSTANCE`, `RELEASE_PORT`, `RELEASE_ROOT` and `RELEASE_OPERATION` in their "
    "environment. What they print is in the log of the operation."
)
SERVICE = {
    "name": NAME,
    "restart_command": _(
        "After `current` leads to the new release. An exit status other than 0 brings the release before back. "
        "Such as `systemctl --user restart shop@$RELEASE_PORT`"
    ),
    "before_switch_command": _(
        "In the new release, while the one before still runs: to compile, to warm up. Such as `./bin/migrate`"
    ),
    "command_timeout": _("Seconds that each command may take; then it is ended and has failed."),
    "version_command": _(
        "Prints, on its first line, which version runs: it asks the process itself, not the link. After a restart it runs "
        "every half second until that is the new version; otherwise the release before comes back. It runs at each sync too. "
        "Such as `curl -fsS http://127.0.0.1:$RELEASE_PORT/version`"
    ),
    "keep_releases": _(
        "How many releases stay on a node, the running one among them: a rollback to these loads nothing."
    ),
    "mutable_versions": _(
        "A version may come with other bytes later, as `latest` does. Off: a version whose bytes have changed is refused."
    ),
    "sync_enabled": _("Which versions run is read from the nodes every few minutes, and drift is told."),
}
HOST = _("An IP address or a host name, without port and user, such as `10.20.0.5`.")
HOST_KEY = _(
    "One line, as in `/etc/ssh/ssh_host_ed25519_key.pub` of the server; or `@cert-authority ssh-ed25519 AAAA…`. "
    "A server that shows another key is not spoken to."
)
JUMP_HOST = {
    "name": NAME,
    "host": HOST,
    "ssh_user": _("The account that we log in to; it needs no more than to pass connections on."),
    "ssh_host_key": HOST_KEY,
}
NODE = {
    "name": NAME,
    "host": HOST,
    "transport": _(
        "“This machine” runs commands on the worker's own host, and only where `RELEASE_LOCAL_NODES` allows it."
    ),
    "ssh_user": _("The account that owns the deploy roots, such as `release`. Its commands run as that."),
    "ssh_host_key": HOST_KEY,
}
INSTANCE = {
    "instance_id": _("Unique among all services, such as `user-service-1`."),
    "port": _("What its commands get as `RELEASE_PORT`; nothing else is done with it."),
    "deploy_root": _(
        "The folder on the node that belongs to this instance alone. The releases are under it, and `current` leads to the one "
        "that runs: the service reads its program from `<deploy root>/current`. Such as `/srv/user-service/1`"
    ),
}
