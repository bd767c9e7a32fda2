"""Who sent a request, as far as the service knows."""

from dataclasses import dataclass, field

from slimseq.app.http.keys import KeyLimits, Scope


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Args:
        name: the name of its key, or `anonymous` or `operator`, for logs.
        identifier: the id of its key, under which its limits are counted. None has no limits.
        scopes: what it may do.
        limits: of its key.
        is_anonymous: whether it has sent no valid key.
    """

    name: str
    identifier: str | None = None
    scopes: frozenset[Scope] = frozenset()
    limits: KeyLimits = field(default_factory=KeyLimits)
    is_anonymous: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether it may do what a scope is for."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


# Where there are no keys, everybody may do what changes nothing for others.
ANYBODY = Caller("anonymous", scopes=frozenset({Scope.GENERATE, Scope.EVALUATE, Scope.METRICS}), is_anonymous=True)
# Where there are keys, and the request has none.
NOBODY = Caller("anonymous", is_anonymous=True)
# Who has sent the token of `SLIMSEQ_ADMIN_TOKEN`.
OPERATOR = Caller("operator", scopes=frozenset(Scope))
