"""Optuna's journal as numbered objects in a folder: it needs no database and no lock, only that an object is made once."""

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from landtide.io import storage


class ObjectJournal(BaseJournalBackend):
    """Entries in a folder near or far. Whoever makes the next number first wins; the other takes the number after it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._entries: list[dict[str, Any]] = []
        self._objects = 0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Yield the entries from a number on."""
        self._catch_up()
        yield from self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries as one object."""
        data = json.dumps(logs).encode()
        while not storage.create(self._uri(self._objects), data):
            self._catch_up()

    def _catch_up(self) -> None:
        while True:
            try:
                entries = storage.read_json(self._uri(self._objects))
            except FileNotFoundError:
                return
            self._entries += entries
            self._objects += 1

    def _uri(self, number: int) -> str:
        return storage.join(self._folder, f"{number:08d}.json")
