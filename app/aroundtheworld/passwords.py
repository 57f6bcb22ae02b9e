"""Passwords, kept as argon2id hashes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MINIMUM_LENGTH = 12
# Longer input only costs time to hash.
MAXIMUM_LENGTH = 200


class Passwords:
    """Hashes and verifies passwords, costly on purpose (some 20 ms and 19 MiB each)."""

    def __init__(self) -> None:
        """Prepare; no thread is started before the first password."""
        # OWASP's recommendation for argon2id that needs the least memory: workers are limited.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        # A single thread: many guesses at once wait in its queue, and the visitors do not.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="passwords")

    def hashed(self, password: str) -> str:
        """Return the hash of `password`; blocks."""
        return self._hasher.hash(password)

    async def hashed_async(self, password: str) -> str:
        """Return the hash of `password`; does not block the loop."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self.hashed, password
        )

    async def match(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the hash is that of `password`; does not block the loop.

        Without a hash (there is no such player) it takes as long, and says no.
        """
        if len(password) > MAXIMUM_LENGTH:
            return False
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._matches, password_hash, password
        )

    def _matches(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobodys_hash, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    @cached_property
    def _nobodys_hash(self) -> str:
        return self.hashed("")
