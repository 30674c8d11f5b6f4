"""One truth for right and wrong: answers, labels of calls, sub-goals, rewards.

    judged = judge(trajectory)              # `scores`, part by part, and their weighted sum `reward`
    score_of(judged), statistics(judged)    # what is counted of it

Pure functions of records, used by `filter`, `rl` and `eval` alike: what was judged once can be judged
again from the stored line. Nothing here asks a model, and no part of a reward compares calls with a
gold trace: that would punish trying.
"""

from tmcli.score.answers import contains, correct
from tmcli.score.calls import CANONICAL, Label, Made, labels, made, played, repeated
from tmcli.score.parts import PARTS, Case, Episode, Turns, documents, explained
from tmcli.score.rewards import DEFAULT_WEIGHTS, OUTCOME, judge, parse_weights, phase_rewards, task_in, weigh
from tmcli.score.statistics import score_of, scored, statistics
from tmcli.score.subgoals import solve
from tmcli.score.verdicts import verdicts_of

__all__ = [
    "CANONICAL",
    "DEFAULT_WEIGHTS",
    "OUTCOME",
    "PARTS",
    "Case",
    "Episode",
    "Label",
    "Made",
    "Turns",
    "contains",
    "correct",
    "documents",
    "explained",
    "judge",
    "labels",
    "made",
    "parse_weights",
    "phase_rewards",
    "played",
    "repeated",
    "score_of",
    "scored",
    "solve",
    "statistics",
    "task_in",
    "verdicts_of",
    "weigh",
]
