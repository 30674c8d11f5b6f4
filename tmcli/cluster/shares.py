"""A budget in parts: each worker has a share, so that all together keep to the whole.

    shares = Shares(meter)
    share = shares.grant("w1", running=8, workers=4)     # what this worker's meter may reach now, or None
    shares.used("w1", amounts, share, running=3)                  # it reported

What is granted and not yet used is spoken for; a report frees it. Until an episode has ended nobody knows
what one takes, so all goes to the first who asks. A worker that dies has used what it did not report: a
mean episode for each it was playing, at most its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from tmcli.meter import Budget, Meter

Amounts = dict[str, float]


@dataclass
class _Account:
    used: Amounts = field(default_factory=lambda: {"usd": 0.0, "requests": 0, "tokens": 0})
    granted: Amounts = field(default_factory=lambda: {"usd": 0.0, "requests": 0, "tokens": 0})


class Shares:
    """Who may use how much of the meter's budget."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.most: Mapping[str, float] = {k: v for k, v in asdict(meter.budget).items() if v is not None}
        self.lost: Amounts = dict.fromkeys(self.most, 0.0)
        self.accounts: dict[str, _Account] = {}

    def grant(self, worker: str, running: int, workers: int) -> Budget | None:
        """What the worker may use in all by now, so that `running` episodes of its can go on; None: there
        is not enough for one more now."""
        account = self.accounts.setdefault(worker, _Account())
        shares: Amounts = {}
        for name, most in self.most.items():
            others = sum(
                max(0.0, one.granted[name] - one.used[name])
                for key, one in self.accounts.items()
                if key != worker
            )
            free = most - self._used(name) - self.lost[name] - others
            mean = self._mean(name)
            share = free if mean is None else min(free, max(free / workers, 2 * mean * running))
            if share <= 0 or (mean is not None and share < mean):
                return None
            shares[name] = account.used[name] + share
        for name, share in shares.items():
            # the old share holds until the worker has heard of the new one
            account.granted[name] = max(account.granted[name], share)
        return self._budget(shares)

    def held(self, worker: str) -> Budget:
        """What the worker was granted before."""
        return self._budget(self.accounts[worker].granted)

    def used(self, worker: str, amounts: Amounts, share: Budget, running: int) -> None:
        """A worker that held `share` reported; with nothing running it gives back what is left."""
        account = self.accounts[worker]
        for name in self.most:
            account.used[name] += amounts[name]
            account.granted[name] = float(getattr(share, name)) if running else account.used[name]

    def died(self, worker: str, running: int) -> None:
        account = self.accounts.pop(worker, _Account())
        for name in self.most:
            left = max(0.0, account.granted[name] - account.used[name])
            mean = self._mean(name)
            self.lost[name] += left if mean is None else min(left, mean * running)

    def _budget(self, most: Amounts) -> Budget:
        limits = {name: most[name] for name in self.most}
        requests, tokens = limits.get("requests"), limits.get("tokens")
        return Budget(
            limits.get("usd"),
            None if requests is None else int(requests),
            None if tokens is None else int(tokens),
        )

    def _used(self, name: str) -> float:
        return float(getattr(self.meter, name) or 0)

    def _mean(self, name: str) -> float | None:
        """What an episode took so far, the running ones counted in."""
        return self._used(name) / self.meter.ended if self.meter.ended else None
