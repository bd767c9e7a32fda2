"""Finds out who sends a request before its body is read, and counts the request against the limits of its key."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.errors import Unauthenticated
from slimseq.app.http.security import OPEN_PATHS, OPEN_PREFIXES
from slimseq.app.identity.caller import NOBODY
from slimseq.app.identity.keyring import KeyRing
from slimseq.app.identity.limits import Admission, UsageCounter


class IdentityMiddleware:
    """Sets `scope["state"]["admission"]`, and answers requests without a valid key where there are keys."""

    def __init__(self, app: ASGIApp, keys: KeyRing, usage: UsageCounter, key_in_body: tuple[str, ...] = ()) -> None:
        """Wraps an ASGI application.

        Args:
            app: the application.
            keys: the valid keys.
            usage: counts their use.
            key_in_body: paths whose requests may have the key in their body. Their route demands it.
        """
        self.app = app
        self._keys = keys
        self._usage = usage
        self._key_in_body = frozenset(key_in_body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request.

        Raises:
            Unauthenticated: there are keys, and the request has none that is valid.
            KeyLimitReached: the key has used what it may use.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = scope["state"], scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            state["admission"] = Admission(NOBODY, self._usage)
            await self.app(scope, receive, send)
            return
        caller = await self._keys.by_header(Headers(scope=scope).get("authorization"))
        if caller is NOBODY and path not in self._key_in_body:
            raise Unauthenticated
        state["admission"] = Admission(caller, self._usage)

        async def send_and_release(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                # Before the client has the whole answer, since it may send its next request at once.
                state["admission"].release()
            await send(message)

        try:
            await state["admission"].request()
            await self.app(scope, receive, send_and_release)
        finally:
            # The route may have found a key in the body.
            state["admission"].release()
