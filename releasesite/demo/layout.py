"""Where the demo keeps its files, all of them under the data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Layout:
    data_dir: Path

    @property
    def home(self) -> Path:
        return self.data_dir / "demo"

    @property
    def packages(self) -> Path:
        return self.home / "packages"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def lock(self) -> Path:
        """Held by the demo while it lives; its services leave when it is let go."""
        return self.home / "demo.lock"

    @property
    def token(self) -> Path:
        return self.home / "token"

    @property
    def package_port(self) -> Path:
        return self.home / "package-port"

    @property
    def admin_password(self) -> Path:
        return self.data_dir / "admin-password"

    @property
    def node(self) -> Path:
        """Holds the instances' deploy roots."""
        return self.home / "nodes" / "demo-node"

    def make(self) -> None:
        for folder in (self.packages, self.logs, self.node):
            folder.mkdir(parents=True, exist_ok=True)


def shown(path: Path) -> str:
    """The path as a person in the checkout would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def write_secret(path: Path, text: str) -> None:
    """Replace the file as a whole; nobody else may read it, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
