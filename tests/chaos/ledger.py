"""What the server has acknowledged: from then on it must be so, whatever happens to the server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Account:
    """Hold what one user was told, in the order of things that can't be undone.

    `passwords` are those that may be right: one, or two while nobody knows whether a change was made.
    """

    username: str
    passwords: list[str]
    is_confirmed: bool = False
    is_deleted: bool = False
    # A deletion that was asked for and never answered.
    may_be_deleted: bool = False
    ended: list[str] = field(default_factory=list)
    spent: list[str] = field(default_factory=list)


@dataclass
class Ledger:
    """Hold all accounts, and how many wrong passwords were refused for names that nobody has."""

    accounts: dict[str, Account] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    broken: int = 0

    def __str__(self) -> str:
        confirmed = sum(account.is_confirmed for account in self.accounts.values())
        deleted = sum(account.is_deleted for account in self.accounts.values())
        return (
            f"{self.calls} calls, {self.broken} of them cut off; {len(self.accounts)} accounts, {confirmed} confirmed, "
            f"{deleted} deleted; {sum(len(each.ended) for each in self.accounts.values())} sessions ended, "
            f"{sum(self.refused.values())} wrong passwords refused"
        )
