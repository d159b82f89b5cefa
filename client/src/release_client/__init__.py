"""A client of a release execution system. `Client` is the whole of its Python API; `release` is the command."""

from __future__ import annotations

from release_client.answers import ApiError, Hold, Kind, Operation
from release_client.client import Client, new_id
from release_client.errors import Misused, NotKnown, Refused, ReleaseClientError
from release_client.inventory import Inventory

__version__ = "0.1.0"
__all__ = [
    "ApiError",
    "Client",
    "Hold",
    "Inventory",
    "Kind",
    "Misused",
    "NotKnown",
    "Operation",
    "Refused",
    "ReleaseClientError",
    "new_id",
]
