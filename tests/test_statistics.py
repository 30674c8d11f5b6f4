"""Formulas of evaluation: intervals, clusters, exact tests, held against other ways to the same numbers."""

import random
from itertools import combinations, product
from math import comb, isclose, sqrt
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmcli.report.paired import MOST_BITS, _drawn, difference_interval, holm, sign_flip
from tmcli.report.seeds import spread
from tmcli.report.statistics import (
    Z_95,
    clustered,
    mean_interval,
    pass_at_k,
    pass_hat_k,
    share_interval,
    t_quantile,
    wilson,
)

# ---- one sample a task ---------------------------------------------------------------------------


@given(st.integers(1, 500), st.data())
def test_wilson_ends_are_where_the_score_test_just_rejects(n: int, data: st.DataObject) -> None:
    """An independent way to the same interval: |share - p| = z sqrt(p (1 - p) / n) at both ends."""
    share = data.draw(st.integers(0, n)) / n
    low, high = wilson(share * n, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for p in (low, high):
        assert isclose(abs(share - p), Z_95 * sqrt(max(0.0, p * (1 - p)) / n), abs_tol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 48, 100, 1000])
def test_nothing_and_all_have_an_end_of_their_own(n: int) -> None:
    assert (wilson(0, n)[0], wilson(n, n)[1]) == (0.0, 1.0)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_one_sample_a_task_is_wilson(right: list[bool]) -> None:
    found = share_interval([1] * len(right), right)
    assert found == pytest.approx(wilson(sum(right), len(right)))


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=60))
def test_one_sample_a_task_is_students_interval(values: list[int]) -> None:
    low, high = mean_interval([1] * len(values), values) or (0, 0)
    half = t_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((fmean(values), half), abs=1e-9)


@pytest.mark.parametrize(
    ("df", "quantile"),  # scipy.stats.t.ppf(0.975, df), scipy 1.16
    [
        (1, 12.706204736175),
        (2, 4.302652729749),
        (3, 3.182446305284),
        (4, 2.776445105198),
        (9, 2.262157162798),
        (49, 2.009575237129),
        (50, 2.008559112101),
        (1000, 1.962339080826),
    ],
)
def test_students_quantile(df: int, quantile: float) -> None:
    assert t_quantile(df) == pytest.approx(quantile, rel=2e-7)


# ---- samples of one task are a cluster -----------------------------------------------------------


def test_clustered_is_the_textbook_formula() -> None:
    """Miller 2024 (arXiv 2411.00640) sums s_i s_j over pairs of one cluster; ours is G / (G - 1) of it."""
    tasks = [[1, 0, 1], [0, 0], [1, 1, 1, 1], [0, 1]]
    n = sum(map(len, tasks))
    mean = sum(map(sum, tasks)) / n
    pairs = sum((x - mean) * (y - mean) for task in tasks for x in task for y in task)
    found = clustered([len(task) for task in tasks], [sum(task) for task in tasks])
    assert found is not None
    assert (found.mean, found.variance) == pytest.approx((mean, 4 / 3 * pairs / n**2))
    assert found.n_alike == pytest.approx(n * n / sum(len(task) ** 2 for task in tasks))


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=20))
def test_an_interval_holds_its_share_and_is_never_surer_than_independent_samples(
    pairs: list[tuple[int, int]],
) -> None:
    ns = [n for n, _ in pairs]
    sums = [min(n, s) for n, s in pairs]
    interval = share_interval(ns, sums)
    assert interval is not None
    (low, high), share = interval, sum(sums) / sum(ns)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    independent = wilson(sum(sums), sum(ns))
    assert high - low >= independent[1] - independent[0] - 1e-9


def test_the_same_sample_many_times_tells_no_more() -> None:
    right = [1, 1, 0, 1, 0, 1, 0, 1]
    assert share_interval([16] * 8, [16 * x for x in right]) == pytest.approx(wilson(5, 8))


def test_nothing_known() -> None:
    assert clustered([], []) is None
    assert share_interval([0, 0], [0, 0]) is None
    assert mean_interval([1], [3.0]) is None  # one task tells nothing of others
    assert share_interval([5], [5]) == wilson(1, 1)


@pytest.mark.parametrize(("n_tasks", "n_samples"), [(10, 8), (30, 4), (100, 16)])
def test_intervals_hold_the_truth_as_often_as_they_say(n_tasks: int, n_samples: int) -> None:
    """Tasks of differing difficulty, many evaluations: 95 % of the intervals hold the mean difficulty. One
    that took samples for independent would hold it far less often."""
    rng = random.Random(n_tasks)
    held = {"share": 0, "mean": 0, "naive": 0}
    rounds = 1500
    for _ in range(rounds):
        chances = [rng.betavariate(1.2, 0.8) for _ in range(n_tasks)]
        right = [sum(rng.random() < chance for _ in range(n_samples)) for chance in chances]
        ns = [n_samples] * n_tasks
        low, high = share_interval(ns, right) or (0, 0)
        held["share"] += low <= 0.6 <= high
        low, high = mean_interval(ns, right) or (0, 0)
        held["mean"] += low <= 0.6 <= high
        low, high = wilson(sum(right), n_tasks * n_samples)
        held["naive"] += low <= 0.6 <= high
    assert 0.93 <= held["share"] / rounds <= 0.985
    assert 0.915 <= held["mean"] / rounds <= 0.98
    assert held["naive"] / rounds < 0.85


# ---- several samples -----------------------------------------------------------------------------


@given(st.integers(1, 7), st.data())
def test_passes_are_shares_of_draws(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations([i < c for i in range(n)], k))
    assert isclose(pass_at_k(n, c, k), sum(map(any, draws)) / len(draws), abs_tol=1e-12)
    assert isclose(pass_hat_k(n, c, k), sum(map(all, draws)) / len(draws), abs_tol=1e-12)


def test_seeds_scatter() -> None:
    found = spread([0.6, 0.62, 0.58])
    assert (found.mean, found.sd) == pytest.approx((0.6, 0.02))
    half = t_quantile(2) * 0.02 / sqrt(3)
    assert found.interval == pytest.approx((0.6 - half, 0.6 + half))
    assert (
        spread([0.0, 0.0, 0.0], is_share=True).interval is None
    )  # three runs do not prove that none is right


# ---- pairs ---------------------------------------------------------------------------------------


def flipped(differences: list[float]) -> float:
    """All 2^n signs, one by one."""
    seen = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(one >= seen - 1e-9 for one in sums) / len(sums)


@given(st.lists(st.integers(-4, 4).map(lambda i: i / 4), min_size=1, max_size=10))
def test_sign_flip_counts_all_signs(differences: list[float]) -> None:
    assert sign_flip(differences) == pytest.approx(flipped(differences))


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_flip_is_mcnemars_exact_test(won: int, lost: int) -> None:
    n = won + lost
    tail = sum(comb(n, i) for i in range(min(won, lost) + 1)) / 2**n
    assert sign_flip([1.0] * won + [0.0] * 7 + [-1.0] * lost) == pytest.approx(min(1.0, 2 * tail))


def test_drawn_signs_come_near_to_counted_ones() -> None:
    rng = random.Random(5)
    differences = [rng.choice([-2, -1, 1, 1, 2]) / 4 for _ in range(60)]
    assert _drawn(differences, 0) == pytest.approx(sign_flip(differences), abs=0.015)
    odd = [rng.gauss(0.3, 1) for _ in range(80)]
    assert sign_flip(odd) == sign_flip(odd)  # seeded
    assert 0 < sign_flip([rng.gauss(3, 0.1) for _ in range(50)]) <= 0.001  # never 0
    assert MOST_BITS > 1000**2 * 1000  # a thousand tasks of a few samples are counted exactly


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm(ps: list[float]) -> None:
    """What Holm's step-down procedure rejects at a level is what is below that level."""
    adjusted = holm(ps)
    ordered = sorted(ps)
    for level in (0.01, 0.05, 0.2):
        n_rejected = 0
        while n_rejected < len(ps) and ordered[n_rejected] * (len(ps) - n_rejected) <= level:
            n_rejected += 1
        assert sum(p <= level for p in adjusted) == n_rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 30))
def test_difference_of_shares_holds_what_was_seen(won: int, lost: int, ties: int) -> None:
    differences = [1.0] * won + [-1.0] * lost + [0.0] * ties
    interval = difference_interval(differences, is_binary=True)
    if len(differences) < 2:
        assert interval is None
        return
    assert interval is not None
    assert -1 <= interval[0] <= fmean(differences) <= interval[1] <= 1
    assert interval[0] < interval[1]  # no ties look certain
