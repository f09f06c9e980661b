# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
MCAP files whose end is missing, because the recorder or the disk ended before.

All whole records are kept and followed by the end that the format asks for; nothing is copied or
written, so that it costs no more than reading the headers of the records.
"""

from dataclasses import dataclass
import io
import os
from pathlib import Path
import struct
from typing import BinaryIO

_MAGIC = b'\x89MCAP0\r\n'
_HEADER = struct.Struct('<BQ')
_HEADER_OP, _FOOTER_OP, _DATA_END_OP = 0x01, 0x02, 0x0F
# Schema, channel, message, chunk: what messages are read from.
_DATA_OPS = frozenset(range(0x03, 0x0E)) - {0x0B}
_END = (
    _HEADER.pack(_DATA_END_OP, 4) + bytes(4)
    + _HEADER.pack(_FOOTER_OP, 20) + bytes(20) + _MAGIC)


@dataclass(frozen=True)
class MendedMcap:
    """
    A file with an end that it does not have; opened like a path.

    :param path: of the file.
    :param num_bytes: of it that are whole records.
    :param loss: what is missing, for a person.
    """

    path: Path
    num_bytes: int
    loss: str

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """Return the ending of the file's name."""
        return self.path.suffix

    def exists(self) -> bool:
        """Tell whether there is a file."""
        return self.path.exists()

    def is_dir(self) -> bool:
        """Tell that it is a file."""
        return False

    def open(self, mode: str = 'rb') -> BinaryIO:  # noqa: A003
        """
        Open the file.

        :param mode: ``rb``.
        """
        assert mode == 'rb'
        return io.BufferedReader(_Mended(self.path, self.num_bytes))


class _Mended(io.RawIOBase):
    """The beginning of a file, and the end."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        super().__init__()
        self._file = path.open('rb', buffering=0)
        self._num_bytes = num_bytes
        self._position = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read anywhere."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position,
                os.SEEK_END: self._num_bytes + len(_END)}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Read some bytes."""
        wanted = len(buffer)
        left = self._num_bytes - self._position
        if left > 0:
            self._file.seek(self._position)
            data = self._file.read(min(wanted, left)) or b''
        else:
            data = _END[-left:-left + wanted]
        buffer[:len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def mended(path: Path) -> MendedMcap | None:
    """
    Find what of a file is whole.

    :param path: of an MCAP file.
    :returns: None where it is none, or its end is there.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        good = len(_MAGIC)
        while len(head := file.read(_HEADER.size)) == _HEADER.size:
            op, length = _HEADER.unpack(head)
            end = good + _HEADER.size + length
            if op not in _DATA_OPS and op != _HEADER_OP:
                break
            if end > size:
                break
            good = end
            file.seek(good)
        else:
            op = None
    if op in (_FOOTER_OP, _DATA_END_OP) and _has_end(path):
        return None
    return MendedMcap(path, good, (
        f'{path.name} has no end (a recorder that was killed, or a full disk): {size - good} of '
        f'{size} bytes are lost, with an unknown number of messages'))


def _has_end(path: Path) -> bool:
    with path.open('rb') as file:
        file.seek(-len(_MAGIC), os.SEEK_END)
        return file.read() == _MAGIC
