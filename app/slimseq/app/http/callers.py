"""Who sends a request (by its key or the operators' token), and what the request uses of the caller's limits.

The key ring follows the keys file while the service runs. `slimseq.app.http.keys` reads the file,
`slimseq.app.http.usage` counts. `slimseq.app.http.dependencies` checks scopes.
"""

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from slimseq.app.errors import Overloaded, ServiceError, Unauthenticated, UnusableKeysFile
from slimseq.app.http.connections import network_of
from slimseq.app.http.keys import Key, KeyLimits, Scope, key_id, read_keys
from slimseq.app.http.usage import DAY, MINUTE, UsageCounter, WindowLimit
from slimseq.models_store.files import Stamp, stamp_of

# Interval at which the keys file is looked at.
POLL_SECONDS = 1.0
SCHEME = "bearer"
# Number of different wrong tokens that a network may send in a minute. Further ones get 429 until the next minute.
# Right tokens are always accepted, since all clients of a proxy may seem to have one address.
MAX_GUESSES = 10
GUESS_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The sender of a request, as far as the service knows.

    Attributes:
        name: name of its key, or `anonymous` or `operator`, for logs.
        identifier: id of its key, under which its use is counted. Without an id there are no limits.
    """

    name: str
    identifier: str | None = None
    scopes: frozenset[Scope] = frozenset()
    limits: KeyLimits = field(default_factory=KeyLimits)
    is_anonymous: bool = False

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


# The caller where the service has no keys: everybody may do what changes nothing for others.
ANYBODY = Caller("anonymous", scopes=frozenset({Scope.GENERATE, Scope.EVALUATE, Scope.METRICS}), is_anonymous=True)
# The caller where the service has keys, and the request has none.
NOBODY = Caller("anonymous", is_anonymous=True)
# The caller who sent the token of `SLIMSEQ_ADMIN_TOKEN`.
OPERATOR = Caller("operator", scopes=frozenset(Scope))


class Admission:
    """A request of a caller. Its methods count what it uses, and raise above the limits of the caller's key."""

    def __init__(self, caller: Caller, counter: UsageCounter) -> None:
        self.caller = caller
        self._counter = counter
        self._is_in_progress = False

    async def request(self) -> None:
        """Counts the request. Call `release` at its end."""
        identifier = self.caller.identifier
        limits = self.caller.limits
        if identifier is not None and limits.concurrent_requests is not None:
            self._counter.begin(identifier, limits.concurrent_requests)
            self._is_in_progress = True
        await self._spend("requests", 1, limits.requests_per_minute, MINUTE)

    async def characters(self, number: int) -> None:
        """Counts characters. It raises as `UsageCounter.spend` does."""
        await self._spend("characters", number, self.caller.limits.characters_per_minute, MINUTE)

    async def evaluation(self) -> None:
        """Counts an evaluation. It raises as `UsageCounter.spend` does."""
        await self._spend("evaluations", 1, self.caller.limits.evaluations_per_day, DAY)

    async def _spend(self, noun: str, cost: int, amount: int | None, period: int) -> None:
        """Counts `cost` against a limit of `amount` in a period of seconds, if the key has this limit."""
        if amount and self.caller.identifier is not None:
            await self._counter.spend(self.caller.identifier, cost, WindowLimit(noun, amount, period))

    def release(self) -> None:
        """Ends the request. A second call does nothing."""
        if self._is_in_progress and self.caller.identifier is not None:
            self._is_in_progress = False
            self._counter.end(self.caller.identifier)


class KeyRing:
    """Finds the sender of a request by its `Authorization` header.

    Without the `path` of a keys file there are no keys, and everybody may generate. The operators' token is valid
    beside the keys.
    """

    def __init__(self, path: Path | None, admin_token: str | None) -> None:
        self._path = path
        self._admin_token = (admin_token or "").encode()
        self._keys: Mapping[str, Key] = {}
        self._stamp: Stamp | None = None
        self._polling: asyncio.Task[None] | None = None
        # The hashes of the wrong tokens of each network in this minute.
        self._guesses: dict[str, set[int]] = {}
        self._guesses_end = 0.0
        if path is not None:
            self._stamp = stamp_of(path.resolve())
            self._keys = {key.id: key for key in read_keys(path)}

    @property
    def has_keys(self) -> bool:
        return self._path is not None

    @property
    def has_operators(self) -> bool:
        return self.has_keys or bool(self._admin_token)

    def start(self) -> None:
        if self._path is not None:
            if not self._keys:
                logger.warning("the keys file has no keys: requests are refused but those of operators")
            self._polling = asyncio.create_task(self._poll(self._path))

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    def by_header(self, authorization: str, address: str) -> Caller:
        """Returns the caller of a request by its `Authorization` header, empty if there is none.

        Raises:
            Unauthenticated: the token is no valid key. `Overloaded` after too many wrong ones of the network.
        """
        if not authorization:
            return NOBODY if self.has_keys else ANYBODY
        scheme, _, token = authorization.partition(" ")
        with suppress(UnicodeError):
            # Headers are decoded as Latin-1, and clients encode in UTF-8.
            token = token.encode("latin-1").decode()
        if scheme.lower() != SCHEME:
            token = ""
        if not self.has_keys:
            # Clients of other APIs send tokens of their own, which mean nothing here.
            return OPERATOR if self._is_operator(token) else ANYBODY
        return self.by_token(token, address)

    def by_token(self, token: str, address: str) -> Caller:
        # The id is no secret, so that the time that the lookup takes tells an attacker nothing.
        key = self._keys.get(key_id(token) or "")
        if key is not None and key.is_of(token) and not key.has_expired:
            return Caller(key.name, key.id, frozenset(key.scopes), key.limits)
        if self._is_operator(token):
            return OPERATOR
        raise self.refusal(token, address)

    def refusal(self, token: str, address: str) -> ServiceError:
        """Counts a wrong token, and returns the error to raise."""
        if token and self._admin_token:
            seconds = self._guesses_end - time.monotonic()
            if seconds <= 0:
                self._guesses = {}
                self._guesses_end = time.monotonic() + GUESS_SECONDS
            guesses = self._guesses.setdefault(network_of(address), set())
            if len(guesses) >= MAX_GUESSES and hash(token) not in guesses:
                return Overloaded(f"{MAX_GUESSES} wrong tokens came from {address}", math.ceil(seconds))
            guesses.add(hash(token))
        return Unauthenticated()

    def _is_operator(self, token: str) -> bool:
        return bool(self._admin_token) and hmac.compare_digest(token.encode("utf-8", "replace"), self._admin_token)

    async def _poll(self, path: Path) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self.refresh, path)

    def refresh(self, path: Path) -> None:
        """Reads the keys file again if it has changed. A file that cannot be read changes nothing, and is logged."""
        stamp = stamp_of(path.resolve())
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            keys = {key.id: key for key in read_keys(path)}
        except UnusableKeysFile as error:
            logger.error("the keys of before stay valid", extra={"reason": str(error)})
            return
        if keys or not self._keys:
            logger.info("keys were read again", extra={"keys": len(keys)})
        else:
            logger.error("the keys file has no keys any more: all are revoked", extra={"keys_before": len(self._keys)})
        self._keys = keys
