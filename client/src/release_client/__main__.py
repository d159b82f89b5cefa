"""`python -m release_client`, for where the command is not on the PATH."""

from __future__ import annotations

from release_client.cli.main import main

main()
