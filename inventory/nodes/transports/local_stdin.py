"""What a local program reads on its stdin: a pipe that the event loop fills."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 256 * 1024


class Feeder:
    """Writes `before`, then `stdin`, then the end, as fast as the program reads.

    Raises OSError at once when the file can't be opened. A program that ends without reading it all is in its right.
    """

    def __init__(self, before: bytes, stdin: Path | bytes | None) -> None:
        self._file: BinaryIO | None = stdin.open("rb", buffering=0) if isinstance(stdin, Path) else None
        self._left = memoryview(before + (stdin if isinstance(stdin, bytes) else b""))
        self.end_to_read, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Once the program has been started."""
        self._loop.add_writer(self._pipe, self._write)
        self._write()

    def close(self) -> None:
        """Nothing more comes. A program that was still to read some sees the end."""
        if self._pipe < 0:
            return
        self._loop.remove_writer(self._pipe)
        os.close(self._pipe)
        self._pipe = -1
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        try:
            while self._left or self._read_on():
                self._left = self._left[os.write(self._pipe, self._left) :]
        except BlockingIOError:
            return
        except OSError:
            # Nobody reads any more, or the file can't be read to its end: then what came says so by its digest.
            pass
        self.close()

    def _read_on(self) -> bool:
        self._left = memoryview(self._file.read(_CHUNK_BYTES) if self._file is not None else b"")
        return bool(self._left)
