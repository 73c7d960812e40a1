"""What a sign-in has proved so far, and what tokens say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from authsvc.core.factors.kinds import CUSTOM_CHALLENGE, SECOND, SPECS
from authsvc.domain import FactorKind

MULTIPLE_FACTORS = "mfa"
# What a half-done sign-in keeps of a hook that asked nothing. Stored.
_WAIVED = "no-custom"
_BY_PROOF = {spec.proof: spec.kind for spec in SPECS.values()}
_SECOND = frozenset(spec.kind for spec in SECOND)
# In the order of the registry, each once.
_METHODS = tuple(dict.fromkeys(spec.method for spec in SPECS.values()))


@dataclass(frozen=True, slots=True)
class Proved:
    """Hold the factors that were proved in a sign-in; `is_waived`: the operator's hook asked nothing."""

    kinds: frozenset[FactorKind] = frozenset()
    is_waived: bool = False

    @classmethod
    def of_stored(cls, proofs: Iterable[str]) -> Self:
        """Return what a challenge session has kept."""
        stored = frozenset(proofs)
        return cls(frozenset(_BY_PROOF[proof] for proof in stored - {_WAIVED}), _WAIVED in stored)

    def stored(self) -> list[str]:
        """Return what a challenge session keeps, in one order."""
        return sorted([*(SPECS[kind].proof for kind in self.kinds), *([_WAIVED] if self.is_waived else [])])

    def with_(self, kind: FactorKind | None, *, is_waived: bool = False) -> Self:
        """Return what is proved with one more factor, or with a hook that asks nothing."""
        return type(self)(self.kinds | ({kind} if kind else frozenset()), self.is_waived or is_waived)

    @property
    def has_second_factor(self) -> bool:
        """Tell whether a second factor was proved."""
        return bool(self.kinds & _SECOND)

    @property
    def has_passed_hook(self) -> bool:
        """Tell whether the operator's hook was satisfied, or asked nothing."""
        return self.is_waived or CUSTOM_CHALLENGE.kind in self.kinds

    @property
    def methods(self) -> list[str]:
        """Return the authentication methods for tokens: how each factor was proved, and `mfa` beside a second one."""
        methods = {SPECS[kind].method for kind in self.kinds}
        return _ordered(methods | ({MULTIPLE_FACTORS} if self.has_second_factor else set()))


def methods_with(methods: Iterable[str], kind: FactorKind) -> list[str]:
    """Return the authentication methods of a session in which one more factor was proved."""
    return _ordered({*methods, *Proved(frozenset({kind})).methods})


def _ordered(methods: set[str]) -> list[str]:
    return [method for method in (*_METHODS, MULTIPLE_FACTORS) if method in methods]
