"""Passwords, kept as argon2id hashes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

MINIMUM_LENGTH = 12
# Longer input only costs time to hash.
MAXIMUM_LENGTH = 200
# In place of a hash: no password fits it.
NO_PASSWORD = "!"  # noqa: S105 - that no password fits is the point
# What a hash from elsewhere may cost at most, each time that somebody logs in with it.
MOST_ROUNDS, MOST_MEMORY_KIB, MOST_LANES = 4, 64 * 1024, 4


def is_affordable(password_hash: str) -> bool:
    """Tell whether a hash that was made elsewhere is one of argon2id, and no costlier than ours."""
    try:
        costs = extract_parameters(password_hash)
    except (InvalidHashError, ValueError):
        return False
    return (
        costs.type is Type.ID
        and 0 < costs.time_cost <= MOST_ROUNDS
        and 0 < costs.memory_cost <= MOST_MEMORY_KIB
        and 0 < costs.parallelism <= MOST_LANES
    )


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
