"""ToolCompass (arXiv 2609.25678): calls that do the same are drawn together, whatever their domain.

    compass = Compass(model, n_classes=12, weight=0.1)
    compass.follow(optimizer)                          # its prototypes move with the optimizer's steps
    with tapped(model, compass.layer) as tap:          # hidden states without a second forward pass
        ...                                            # the forward pass of the policy's loss
    loss += compass.weight * compass.loss(tap.hidden, classes)

For every sampled call of class c take the hidden state h of its last token after a middle-early block:

    z     = g(h) / |g(h)|                                 g linear, z in R^d
    L_var = - mean_i log softmax_k(mu_k . z_i / t)[c_i]   each call near the prototype of its class
    L_sep = mean_k log mean_{j != k} exp(zbar_k . mu_j / t)       classes apart; zbar_k: the direction
                                                                  of the pass's calls of class k
    L     = L_post + w (L_var + w_sep L_sep)

    mu_k <- normalised(m mu_k + (1 - m) direction of the step's calls of class k), no gradient

What the paper leaves open is ours:
- Prototypes move once an optimizer step, by all its calls of all processes; in a pass they are constants. So
  two processes do what one does. In the step in which a class comes first, its prototype is zbar_k itself.
- k and j run over the classes that are there: j over those with a prototype, k of L_sep over those of the
  pass. Without calls, L is 0; with one class alone, both losses are.
- g has no bias. m and w_sep are below; w_sep as in HYPO (arXiv 2402.07785), which has the same two losses.

Head and prototypes are kept in the trainer's checkpoints and thrown away at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import cross_entropy, normalize

DIMENSION = 128
TEMPERATURE = 0.4
SEPARATION = 0.5
"""w_sep."""
MEMORY = 0.9
"""m: how much of a prototype outlasts a step. With less the losses of smollm2 stopped falling: its calls lie
so close together at first (mean cosine 0.92) that prototypes ran after them."""
DEPTH = 0.25
"""The layer, as a part of the model: the paper's is 8 of 32 to 36."""

MEASURED = ("compass/variation", "compass/separation", "compass/accuracy")


class Compass(torch.nn.Module):
    """An auxiliary loss over hidden states: head, prototypes, and how they move."""

    prototypes: torch.Tensor  # (K, d), of length 1
    known: torch.Tensor  # (K,): has the class a prototype yet?
    sums: torch.Tensor  # (K, d): z of this step's calls

    def __init__(
        self, model: Any, n_classes: int, weight: float, *, layer: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        config = model.config.get_text_config()
        self.weight = weight
        self.layer: int = layer or max(1, round(DEPTH * config.num_hidden_layers))
        """After how many blocks the hidden states are taken."""
        self.head = torch.nn.Linear(config.hidden_size, DIMENSION, bias=False)
        with torch.no_grad():
            random = torch.Generator().manual_seed(seed)
            self.head.weight.normal_(std=config.hidden_size**-0.5, generator=random)
        self.register_buffer("prototypes", torch.zeros(n_classes, DIMENSION))
        self.register_buffer("known", torch.zeros(n_classes, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(n_classes, DIMENSION), persistent=False)
        self._seen = dict.fromkeys(MEASURED, (0.0, 0.0))

    def loss(self, hidden: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """L_var + w_sep L_sep of one pass; hidden (T, H), classes (T,): -1, or the class of the call that
        ends there."""
        calls = classes >= 0
        if not calls.any():
            return self.head.weight.sum() * 0  # with a gradient, as on every other process
        c = classes[calls]
        with torch.autocast(hidden.device.type, enabled=False):
            z = normalize(self.head(hidden[calls].to(self.head.weight.dtype)), dim=-1)  # (N, d)
            total = torch.zeros_like(self.sums).index_add(0, c, z)  # (K, d)
            here = torch.zeros_like(self.known).index_fill(0, c, True)
            zbar = normalize(total, dim=-1)
            there = self.known | here
            mu = torch.where(self.known[:, None], self.prototypes, zbar.detach())
            scores = (z @ mu.T / TEMPERATURE).masked_fill(~there, -torch.inf)  # (N, K)
            variation = cross_entropy(scores, c)
            separation = _separation(zbar, mu, here, there)
        self.sums += total.detach()
        n = float(len(c))
        self._note("compass/variation", variation, n)
        self._note("compass/separation", separation, n)
        self._note("compass/accuracy", (scores.argmax(-1) == c).float().mean(), n)
        return variation + SEPARATION * separation

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer's steps be ours: before each, processes share their gradients; after it,
        prototypes move. We go to where its parameters are."""
        self.to(optimizer.param_groups[0]["params"][0].device)
        optimizer.register_step_pre_hook(lambda *_: self._share())
        optimizer.register_step_post_hook(lambda *_: self.step())

    @torch.no_grad()
    def step(self) -> None:
        """Move the prototypes towards the calls since the last step."""
        _sum(self.sums)
        here = self.sums.norm(dim=-1, keepdim=True) > 0
        direction = normalize(self.sums, dim=-1)
        moved = normalize(MEMORY * self.prototypes + (1 - MEMORY) * direction, dim=-1)
        moved = torch.where(self.known[:, None], moved, direction)
        self.prototypes.copy_(torch.where(here, moved, self.prototypes))
        self.known |= here[:, 0]
        self.sums.zero_()

    def sums_since(self) -> dict[str, tuple[float, float]]:
        """What the calls measured since this was last asked: name -> (sum, count); nothing without calls."""
        seen, self._seen = self._seen, dict.fromkeys(MEASURED, (0.0, 0.0))
        return seen

    def _note(self, name: str, mean: torch.Tensor, n: float) -> None:
        total, count = self._seen[name]
        self._seen[name] = total + mean.item() * n, count + n

    def _share(self) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                _sum(parameter.grad)
                parameter.grad /= _n_processes()


def _separation(
    zbar: torch.Tensor, mu: torch.Tensor, here: torch.Tensor, there: torch.Tensor
) -> torch.Tensor:
    """L_sep, over the classes `here`, from the others that are `there`."""
    n_others = int(there.sum()) - 1
    if not n_others:
        return zbar.sum() * 0
    own = torch.eye(len(mu), dtype=torch.bool, device=mu.device)
    scores = (zbar @ mu.T / TEMPERATURE).masked_fill(own | ~there, -torch.inf)  # (K, K)
    logs: torch.Tensor = scores[here].logsumexp(-1).mean() - math.log(n_others)
    return logs


@contextmanager
def tapped(model: Any, layer: int) -> Iterator[SimpleNamespace]:
    """Within it, `.hidden` is (T, H) after so many blocks of the last forward pass, its rows end to end."""
    tap = SimpleNamespace(hidden=None)

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        tap.hidden = (output[0] if isinstance(output, tuple) else output).flatten(0, 1)

    handle = block(model, layer).register_forward_hook(keep)
    try:
        yield tap
    finally:
        handle.remove()


def block(model: Any, layer: int) -> torch.nn.Module:
    """The last of the first `layer` blocks of a model, adapted or not."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    blocks: torch.nn.ModuleList = base.get_decoder().layers
    return blocks[layer - 1]


def _n_processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _sum(tensor: torch.Tensor) -> None:
    """Over all processes, in place."""
    if _n_processes() > 1:
        distributed.all_reduce(tensor)
