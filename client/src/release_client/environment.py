"""Where the system is and what lets us in, from options or RELEASE_URL, RELEASE_TOKEN, RELEASE_TOKEN_FILE."""

from __future__ import annotations

import os
from pathlib import Path

from release_client.errors import Misused


def environment_url() -> str:
    url = os.environ.get("RELEASE_URL", "")
    if not url:
        raise Misused("Which release system? Set RELEASE_URL, such as https://releases.example.com, or give --url.")
    return url


def environment_token() -> str:
    token, file = os.environ.get("RELEASE_TOKEN", ""), os.environ.get("RELEASE_TOKEN_FILE", "")
    if token:
        return token.strip()
    if file:
        return token_in(Path(file))
    raise Misused(
        "There is no token. Name a file that holds one, in RELEASE_TOKEN_FILE or with --token-file. "
        "An admin makes one with the server's command: create_token NAME --scope deploy."
    )


def token_in(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misused(f"The token's file {file} can't be read: {reason}.") from error
