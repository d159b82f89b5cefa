"""How a login by the identity provider ends without one."""

from __future__ import annotations


class Unavailable(Exception):
    """The provider can't be asked, or isn't the one that is configured. The text is for the log and for `doctor`."""


class Refused(Exception):
    """What came back is no login. told: for the person, translated. The text is for the log and the audit."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(reason)
        self.told = told
