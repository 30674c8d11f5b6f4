"""`tm rollout`: a policy's trajectories, to judge."""

from __future__ import annotations

from tmcli import ledger
from tmcli.commands import options
from tmcli.commands.options.bundles import Machines, Playing, Serving, Spending, Writing, player, setup
from tmcli.episode import Limits
from tmcli.estimate import estimate
from tmcli.policies import Sampling
from tmcli.runner import jobs, shard
from tmcli.steps.rollout import rollout


def run(
    policy: options.PolicyName,
    tasks: options.Tasks = "unseen",
    style: options.Style = "trial",
    n: options.TaskCount = None,
    samples: options.Samples = 1,
    drift: options.Drift = "",
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 8192,
    max_new_tokens: options.MaxNewTokens = 512,
    playing: Playing = Playing(),
    serving: Serving = Serving(),
    spending: Spending = Spending(),
    writing: Writing = Writing(),
    machines: Machines = Machines(),
) -> None:
    """Let a policy play tasks and write its trajectories.

    \b
      tm rollout --policy ckpt/ --tasks unseen | tm eval
      tm rollout --policy smollm2 --tasks tasks.jsonl --limit 20 --samples 4 --temperature 1 -o runs.jsonl
      tm rollout --policy Qwen/Qwen3-8B@http://a:8000/v1,http://b:8000/v1 --concurrency 256 -o runs.jsonl

    Each trajectory is judged and written as it ends. When a server or a tool's machinery breaks, the
    episode is invalid and has no reward: counted, and played again by --resume.
    """
    sampling = Sampling(playing.temperature, playing.top_p, max_new_tokens, seed)
    limits = Limits(style, max_turns=playing.max_turns, max_tokens=max_tokens, timed=playing.timed)
    made = setup(policy, sampling, limits, playing, serving, spending)
    part = shard(machines.shard)
    with writing.aside() as aside:
        chosen = options.tasks_from(tasks, n=n, seed=seed, drift=drift, rejects=aside)
        if spending.dry_run:
            due = jobs(chosen, samples, writing.already(), shard=part)
            estimate(due, made).tell()
            return
        with player(made, playing, writing, machines) as who, writing.journal(who.key) as journal:
            total = ledger.expected(tasks, n, samples, journal, part)
            played = rollout(
                chosen,
                who,
                samples,
                journal.done,
                shard=part,
                ordered=journal.ordered,
                order=journal.order,
            )
            ledger.keep(played, journal, total, who)
