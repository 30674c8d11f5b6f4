"""Episodes on their way into an output: each written as it ends, counted, and the sum told.

    with Runner(policy, limits) as player, open_journal(path, key=player.key) as journal:
        ledger.keep(synth(tasks, player), journal, ledger.expected(...), player)

What `synth` and `rollout` do with what is played.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tmcli import console, io
from tmcli.console import Piece
from tmcli.errors import InputError, RunError
from tmcli.journal import Journal
from tmcli.meter import Meter, dollars
from tmcli.records import Trajectory
from tmcli.runner import Player
from tmcli.suites import DEFAULT_N


def keep(trajectories: Iterable[Trajectory], journal: Journal, total: int | None, player: Player) -> None:
    """Write each judged trajectory at once, with progress (`total`: how many at most, where known), and tell
    the sum, also of a run that ends early.

    Raises `RunError` when not one episode is valid, `InputError` when there was no task at all.
    """
    n_invalid = 0
    failure = ""
    progress: console.Progress | None = None
    already = journal.written

    def more() -> Iterator[Piece]:
        return _live(player, progress.seconds if progress else 0.0)

    try:
        with console.progress(total, "episodes", more) as progress:
            for trajectory in trajectories:
                journal.write(trajectory)
                if trajectory.status == "invalid":
                    n_invalid += 1
                    failure = failure or trajectory.failure or "no reason given"
                progress.advance(**outcome(trajectory))
            if total is not None and not player.stopped:
                progress.total = progress.done  # `--until-correct` may need fewer
    finally:
        used = spent(player.meter)
        if used:
            console.note(used)
    n = journal.written - already
    if player.stopped:
        console.warn(f"stopped early: {player.stopped}")
    if n_invalid and n_invalid == n:
        raise RunError(f"no episode could be played to its end: {failure}", "mend that and run again")
    if n_invalid:
        console.warn(f"{n_invalid} of {n} episodes are invalid: {failure}; --resume plays them again")
    if n == 0 and journal.done:
        console.note(f"nothing to do: all {len(journal.done)} episodes are there")
    elif n == 0 and not player.stopped:
        if len(journal.order):  # a part may be empty: `cat` joins it all the same
            console.note(f"nothing to do: none of the {len(journal.order)} tasks is of this shard")
            return
        raise InputError("no tasks to play", "make some with tm tasks, or name a suite with --tasks")


def outcome(trajectory: Trajectory) -> dict[str, int]:
    """One episode, counted: correct, failed (valid, and wrong), unjudged (nobody can tell), or invalid.

    The first and the last are always named, so that a line of them reads alike from its start.
    """
    counts = {"correct": 0, "failed": 0, "invalid": 0}
    answer = trajectory.scores.get("answer")
    if trajectory.status == "invalid":
        counts["invalid"] = 1
    elif answer is None:
        counts["unjudged"] = 1
    else:
        counts["correct" if answer == 1.0 else "failed"] = 1
    return counts


def spent(meter: Meter) -> str:
    """What a run asked of servers, in a sentence; empty when it asked none.

    >>> meter = Meter()
    >>> meter.ask(); meter.retried("429"); meter.ask(); meter.answered(8120, 40)
    >>> spent(meter)
    '8,120 tokens in, 40 out; 2 requests, 1 of them again (429: 1)'
    """
    if not (meter.requests or meter.cached):
        return ""
    cost = "" if meter.usd is None else f", {dollars(meter.usd)}"
    asked = f"{meter.requests:,} request{'s' * (meter.requests != 1)}"
    again = meter.retries.total()
    if again:
        kinds = ", ".join(f"{why}: {n:,}" for why, n in meter.retries.most_common())
        asked += f", {again:,} of them again ({kinds})"
    if meter.cached:
        asked += f", {meter.cached:,} {'reply' if meter.cached == 1 else 'replies'} from the cache"
    return f"{meter.prompt_tokens:,} tokens in, {meter.completion_tokens:,} out{cost}; {asked}"


def _live(player: Player, seconds: float) -> Iterator[Piece]:
    """What the line of a running step tells beside its counts."""
    meter = player.meter
    if meter.tokens:
        yield Piece(f"{_short(meter.completion_tokens / max(seconds, 1e-3))} tokens/s", 40)
    if meter.usd is not None:
        yield Piece(dollars(meter.usd), 75)
    running = player.running
    if running:
        yield Piece(f"{running} running", 50)
    if meter.limit is not None and (meter.requests or meter.cached):
        yield Piece(f"limit {meter.limit}", 30)
    if meter.retries:
        yield Piece(f"{meter.retries.total():,} retries", 35)


def _short(value: float) -> str:
    """A number in few characters.

    >>> _short(7.4), _short(1234), _short(56_700), _short(1_234_567)
    ('7', '1.2k', '57k', '1.2M')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def expected(
    tasks: str, n: int | None, samples: int, journal: Journal, shard: tuple[int, int] = (1, 1)
) -> int | None:
    """How many episodes are due at most, for `keep`; None: the stream will tell. `shard`: (2, 4) is the
    second of four parts, task by task."""
    most = n_tasks(tasks, n)
    if most is None:
        return None
    which, parts = shard
    return max(0, len(range(which - 1, most, parts)) * samples - len(journal.done))


def n_tasks(tasks: str, n: int | None) -> int | None:
    """How many tasks `--tasks` and `-n` name at most, where anybody knows."""
    n_there = None if tasks in DEFAULT_N else io.count(tasks)
    return DEFAULT_N.get(tasks, n_there) if n is None else n if n_there is None else min(n, n_there)
