"""Options that go together: one parameter of a command, many on its command line.

    def run(tasks: Tasks = "train", spending: Spending = Spending()) -> None:      # as a command has it
    command = expanded(run)                                                        # as typer is shown it

Each field of a bundle is an option; `app.py` expands every command. A bundle knows what its words mean:
its methods give what the floors below take. The first sentence of its docstring is the heading of its options
in `--help`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from tmcli.commands import options
from tmcli.errors import UsageError

if TYPE_CHECKING:  # `tm --help` needs the options, not what the methods need
    from tmcli import io
    from tmcli.episode import Limits
    from tmcli.journal import Done, Journal
    from tmcli.meter import Budget, Price
    from tmcli.policies import Sampling, Service
    from tmcli.runner import Player, Setup


def expanded(run: Callable[..., None]) -> Callable[..., None]:
    """A command's function with the options of its bundles in place of them."""
    hints = get_type_hints(run, include_extras=True)
    bundles: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(run).parameters.items():
        if name not in bundles:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        types = get_type_hints(bundles[name], include_extras=True)
        parameters += [
            parameter.replace(name=one.name, default=one.default, annotation=types[one.name])
            for one in fields(bundles[name])
        ]

    def command(**given: Any) -> None:
        for name, bundle in bundles.items():
            given[name] = bundle(**{one.name: given.pop(one.name) for one in fields(bundle)})
        run(**given)

    command.__doc__ = run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def headings(run: Callable[..., None]) -> dict[str, str]:
    """Name of an option of a bundle -> the heading it stands under."""
    bundles = filter(is_dataclass, get_type_hints(run).values())
    return {one.name: str(bundle.__doc__).partition(".")[0] for bundle in bundles for one in fields(bundle)}


@dataclass(frozen=True)
class Writing:
    """Where records go, and lines that cannot be read."""

    output: options.Output = "-"
    to: options.To = None
    resume: options.Resume = False
    force: options.Force = False
    unordered: Annotated[
        bool, typer.Option("--unordered", help="Leave episodes in the order in which they end.")
    ] = False
    skip_invalid: options.SkipInvalid = False
    rejects: options.Rejects = None

    @contextmanager
    def aside(self) -> Iterator[io.Rejects | None]:
        """What `--skip-invalid --rejects FILE` asks for."""
        with options.open_rejects(self.skip_invalid, self.rejects, force=self.force) as rejects:
            yield rejects

    def journal(self, key: str) -> AbstractContextManager[Journal]:
        """The output, to append to; `key` is the hash of what shapes its records."""
        from tmcli.journal import open_journal

        return open_journal(
            self.output,
            key=key,
            resume=self.resume,
            force=self.force,
            to=self.to,
            ordered=not self.unordered,
        )

    def already(self) -> Done:
        """What `--resume` would keep."""
        from tmcli.journal import Done, already

        return already(self.output) if self.resume else Done()


@dataclass(frozen=True)
class Playing:
    """How episodes are played, and where their tools run."""

    max_turns: options.MaxTurns = 12
    temperature: options.Temperature = 0.0
    top_p: options.TopP = 1.0
    concurrency: options.Concurrency = 8
    max_batch_tokens: options.MaxBatchTokens = None
    timeout: options.Timeout = 10.0
    simulate: options.Simulate = False
    record: options.Record = None
    replay: options.Replay = None
    timed: Annotated[
        bool,
        typer.Option(
            "--timed", help="Note how long each turn took; no two runs are the same bytes any more."
        ),
    ] = False


@dataclass(frozen=True)
class Serving:
    """How a model behind a server is asked."""

    protocol: Annotated[
        Literal["auto", "native", "text", "tokens"],
        typer.Option(
            "--protocol",
            help="How calls travel: native, in the API's own fields; text, for servers without tools; auto"
            " asks the server. tokens: dialogues go to vLLM or SGLang as token ids, and come back so.",
        ),
    ] = "auto"
    extra_body: Annotated[
        str,
        typer.Option(
            "--extra-body", metavar="JSON", help="More fields of each request, as '{\"top_k\": 20}'."
        ),
    ] = ""
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache", metavar="DIR", help="Keep a server's replies there; a rerun asks for none of them."
        ),
    ] = None

    def service(self, at_once: int) -> Service:
        from tmcli.policies import Service

        return Service(self.protocol, body(self.extra_body, "--extra-body"), self.cache, at_once)


@dataclass(frozen=True)
class Spending:
    """What a run may cost."""

    price_in: Annotated[
        float | None,
        typer.Option(
            "--price-in",
            min=0.0,
            metavar="USD",
            help="Price of a million prompt tokens where tm knows none.",
        ),
    ] = None
    price_out: Annotated[
        float | None,
        typer.Option("--price-out", min=0.0, metavar="USD", help="Price of a million completion tokens."),
    ] = None
    budget_usd: Annotated[
        float | None, typer.Option("--budget-usd", min=0.0, metavar="USD", help="Stop when so much is spent.")
    ] = None
    max_requests: Annotated[
        int | None,
        typer.Option("--max-requests", min=0, metavar="N", help="Stop after so many requests to servers."),
    ] = None
    max_tokens_total: Annotated[
        int | None,
        typer.Option("--max-tokens-total", min=0, metavar="N", help="Stop after so many tokens in all."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate requests, tokens and cost, and play nothing.")
    ] = False

    def price(self, policy: str) -> Price | None:
        """What this policy's tokens cost, where anybody knows."""
        from tmcli.prices import price_or

        return price_or(policy, self.price_in, self.price_out)

    def budget(self) -> Budget:
        from tmcli.meter import Budget

        return Budget(self.budget_usd, self.max_requests, self.max_tokens_total)


@dataclass(frozen=True)
class Engine:
    """Where records are looked at, one by one."""

    engine: Annotated[
        Literal["local", "ray"],
        typer.Option("--engine", help="local: this process; ray: the workers of a Ray cluster."),
    ] = "local"
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="HOST:PORT", help="The cluster; else RAY_ADDRESS or one here."),
    ] = None
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Ray workers; else one for each CPU.")
    ] = None

    def is_ray(self) -> bool:
        if self.engine != "ray" and (self.ray_address is not None or self.workers is not None):
            raise UsageError("--ray-address and --workers are for --engine ray", "add it")
        return self.engine == "ray"


@dataclass(frozen=True)
class Machines(Engine):
    """Where a run's episodes are played."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Ray workers, --concurrency each; else one for each CPU."
        ),
    ] = None
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only the I-th of N equal parts of the tasks.")
    ] = ""


def setup(
    policy: str, sampling: Sampling, limits: Limits, playing: Playing, serving: Serving, spending: Spending
) -> Setup:
    """All that these options say of a run, as plain data."""
    from tmcli.runner import Setup

    return Setup(
        policy,
        sampling,
        limits,
        serving.service(playing.concurrency),
        playing.concurrency,
        spending.price(policy),
        spending.budget(),
        playing.timeout,
        playing.simulate,
        playing.replay,
        playing.max_batch_tokens,
    )


def player(setup: Setup, playing: Playing, writing: Writing, machines: Machines) -> Player:
    """Who plays the episodes: a runner in this process, or the workers of a cluster."""
    if machines.is_ray():
        from tmcli.cluster import Cluster

        if playing.record is not None:
            raise UsageError("--record keeps the calls of one machine", "leave it out with --engine ray")
        return Cluster(setup, machines.ray_address, machines.workers)
    kept = options.recorder(
        playing.record, playing.replay, writing.output, resume=writing.resume, force=writing.force
    )
    return setup.open(kept)


def body(text: str, option: str) -> dict[str, Any]:
    """The JSON object that an option gives."""
    import orjson

    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{option} is not JSON: {error.msg}", "write '{\"top_k\": 20}'") from error
    if not isinstance(value, dict):
        raise UsageError(f"{option} is no JSON object", "write '{\"top_k\": 20}'")
    return value
