"""`tm rollout`: a policy's trajectories, to judge."""

from __future__ import annotations

from tmcli import ledger, policies
from tmcli.commands import options
from tmcli.episode import Limits
from tmcli.journal import open_journal
from tmcli.runner import Runner
from tmcli.steps.rollout import rollout


def run(
    policy: options.PolicyName,
    tasks: options.Tasks = "unseen",
    style: options.Style = "trial",
    n: options.TaskCount = None,
    samples: options.Samples = 1,
    drift: options.Drift = "",
    seed: options.Seed = 0,
    output: options.Output = "-",
    to: options.To = None,
    resume: options.Resume = False,
    force: options.Force = False,
    concurrency: options.Concurrency = 8,
    max_turns: options.MaxTurns = 12,
    max_tokens: options.MaxTokens = 8192,
    max_new_tokens: options.MaxNewTokens = 512,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    timeout: options.Timeout = 10.0,
    simulate: options.Simulate = False,
    record: options.Record = None,
    replay: options.Replay = None,
    skip_invalid: options.SkipInvalid = False,
    rejects: options.Rejects = None,
) -> None:
    """Let a policy play tasks and write its trajectories.

    \b
      tm rollout --policy ckpt/ --tasks unseen | tm eval
      tm rollout --policy smollm2 --tasks tasks.jsonl --limit 20 --samples 4 --temperature 1 -o runs.jsonl

    Each trajectory is judged and written as it ends. When a server or a tool's machinery breaks, the
    episode is invalid and has no reward: counted, and played again by --resume.
    """
    sampling = policies.Sampling(temperature, top_p, max_new_tokens, seed)
    limits = Limits(style, max_turns=max_turns, max_tokens=max_tokens)
    with options.open_rejects(skip_invalid, rejects, force=force) as aside:
        chosen = options.tasks_from(tasks, n=n, seed=seed, drift=drift, rejects=aside)
        world = options.world(
            timeout_s=timeout,
            simulate=simulate,
            record=record,
            replay=replay,
            output=output,
            resume=resume,
            force=force,
        )
        who = policies.load(policy, sampling, style)
        with (
            Runner(who, limits, concurrency=concurrency, world=world) as runner,
            open_journal(output, key=runner.key, resume=resume, force=force, to=to) as journal,
        ):
            total = ledger.expected(tasks, n, samples, journal)
            ledger.keep(rollout(chosen, runner, samples, journal.done), journal, total)
