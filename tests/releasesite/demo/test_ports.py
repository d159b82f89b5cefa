from __future__ import annotations

import socket
import subprocess
import sys

from releasesite.demo.ports import free_port, holder, is_free


def test_a_port_that_somebody_listens_on_is_not_free_and_its_holder_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert not is_free(port)
        assert "(pid " in holder(port)
        assert free_port(port) != port


def test_the_preferred_port_is_taken_unless_it_is_to_be_avoided() -> None:
    wanted = free_port()
    other = subprocess.run(
        [sys.executable, "-c", f"from releasesite.demo.ports import free_port; print(free_port({wanted}))"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(other.stdout) != wanted, "two demos that start at once must not choose the same port"
    assert free_port(wanted, avoid=(wanted,)) != wanted
