"""The life of a training run: when it saves, holds out, stops, and what it tells of itself.

    life = Life(part, save_every=50, eval_every=10, patience=3)
    trainer.add_callback(life)
    with signals.told_to(life.asked_to_stop, GRACE_S):
        life.train(trainer)
    if life.stopped: ...                          # Ctrl-C or SIGTERM: saved, to be resumed

The trainer's own checkpoints are what a run goes on from (`checkpoint.part`). One is taken every
`save_every` steps, whenever what is `watched` of the held-out is the best so far, and when the run is told to
stop.
Several processes agree on each of these, for they have to do it in the same step.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import torch.distributed
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_model
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import load_sharded_checkpoint
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tmcli import checkpoint, console
from tmcli.errors import RunError
from tmcli.records import Json

GRACE_S = 25.0
"""How long the step at hand and saving may take after SIGTERM; schedulers kill after 30 s."""

SAVE_EVERY_S = 600.0
"""How often to save where no number of steps is given."""

NOTHING, SAVE, STOP = range(3)


class Life(TrainerCallback):  # type: ignore[misc]  # transformers ships no types for it
    """Saves, holds out, stops. `best_step` is where the held-out loss (or whatever is watched) was best, 0
    when nowhere."""

    def __init__(
        self,
        part: Path,
        *,
        save_every: int = 0,
        eval_every: int = 0,
        patience: int = 0,
        watched: str = "eval_loss",
        higher: bool = False,
        between: int = 1,
    ) -> None:
        self.part = part
        self.watched = watched
        self.higher = higher
        """Is more of it better?"""
        self.between = between
        """Steps on one batch of episodes: nothing is saved or held out in their midst."""
        self.save_every = save_every
        """Steps; 0: every `SAVE_EVERY_S`."""
        self.eval_every = eval_every
        """0: nothing is held out."""
        self.patience = patience
        self.stopped = False
        self.best_step = 0
        self._asked = False
        self._saved_at = monotonic()

    def asked_to_stop(self, now: bool) -> bool:
        """A signal came; in a signal handler."""
        again, self._asked = self._asked, True
        if not again:
            with suppress(RuntimeError):  # in the middle of something else that is being said
                console.note("saving after this step" + ("" if now else "; Ctrl-C again stops at once"))
        # torchrun passes a signal on that its children had already; it kills who takes too long
        return not again or checkpoint.n_processes() > 1

    @property
    def is_asked(self) -> bool:
        """Did a signal ask to stop?"""
        return self._asked

    def save_between(self, trainer: Any) -> None:
        """Save a trainer that was interrupted before its next step had changed anything."""
        step = trainer.state.global_step
        left = checkpoint.saved(self.part)
        if step and (left is None or left.step < step):
            trainer._save_checkpoint(trainer.model, None)
            trainer.callback_handler.on_save(trainer.args, trainer.state, trainer.control)

    def train(self, trainer: Any) -> None:
        """Train from where an earlier life ended, and leave the best weights in the model."""
        _wait_for_all()  # the first process tidies up
        left = checkpoint.saved(self.part)
        state = (
            TrainerState() if left is None else TrainerState.load_from_json(left.path / TRAINER_STATE_NAME)
        )
        if left is not None and (left.step >= left.total or self._has_waited(state)):
            self.best_step = state.best_global_step or left.step  # all that was left was to save it
        else:
            trainer.train(resume_from_checkpoint=None if left is None else str(left.path))
            self.best_step = trainer.state.best_global_step or 0
        if self.best_step and not self.stopped and checkpoint.is_first():
            _keep_best(trainer.model, self.part / f"checkpoint-{self.best_step}")

    def _has_waited(self, state: TrainerState) -> bool:
        """Has no better evaluation come for as long as it may take?"""
        waited = state.global_step - (state.best_global_step or 0)
        return self.patience > 0 and waited >= self.patience * self.eval_every

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Have the sampler know which pass this is: the trainer does not reach it where a run of several
        processes goes on in the middle of a pass."""
        sampler = train_dataloader.batch_sampler
        while hasattr(sampler, "batch_sampler"):
            sampler = sampler.batch_sampler
        if hasattr(sampler.sampler, "set_epoch"):
            sampler.sampler.set_epoch(int(state.epoch or 0))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Json | None = None,
        **kwargs: Any,
    ) -> None:
        """End a run whose weights are lost, before it saves them."""
        if not all(math.isfinite((logs or {}).get(name) or 0) for name in ("loss", "grad_norm", "eval_loss")):
            raise RunError(
                f"the weights are lost at step {state.global_step}: the loss or its gradient is no number",
                f"a lower --learning-rate than {args.learning_rate:g} may help",
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        last = state.global_step >= state.max_steps
        if not last and state.global_step % self.between:
            return
        due = NOTHING if last else _agreed(self._due(state.global_step))
        if due:
            control.should_save = True
        if due == STOP:
            control.should_training_stop = self.stopped = True
        if self.eval_every:
            control.should_evaluate = last or self._divides(self.eval_every, state.global_step)

    def _due(self, step: int) -> int:
        if self._asked:
            return STOP
        if self.save_every:
            return SAVE if self._divides(self.save_every, step) else NOTHING
        return SAVE if monotonic() - self._saved_at >= SAVE_EVERY_S else NOTHING

    def _divides(self, every: int, step: int) -> bool:
        """Does `every` divide one of the steps on the last batch?"""
        return step // every != (step - self.between) // every

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Json,
        **kwargs: Any,
    ) -> None:
        """The best so far is saved: its weights are the result. Those of the beginning are there already."""
        if not state.global_step:
            return
        found, best = metrics.get(self.watched), state.best_metric
        if found is not None and (best is None or (found > best if self.higher else found < best)):
            state.best_metric, state.best_global_step = found, state.global_step
            control.should_save = True
        if self._has_waited(state):
            control.should_training_stop = True
            self.stopped = False  # it is at its end

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        _wait_for_all()  # each writes its own random state
        self._saved_at = monotonic()
        if state.is_world_process_zero:
            folder = self.part / f"checkpoint-{state.global_step}"
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody reads
            best = {state.best_global_step} if state.best_global_step else set()
            checkpoint.mark_saved(self.part, state.global_step, state.max_steps, best)


def _keep_best(model: Any, folder: Path) -> None:
    """Give the model the weights that it had when this was saved."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    elif (folder / SAFE_WEIGHTS_INDEX_NAME).exists():
        load_sharded_checkpoint(model, str(folder), strict=False)
    else:
        load_model(model, str(folder / SAFE_WEIGHTS_NAME), strict=False)  # tied weights are there once


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _agreed(due: int) -> int:
    """What any of the processes wants."""
    if not torch.distributed.is_initialized():
        return due
    device = torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    wanted = torch.tensor(due, device=device)
    torch.distributed.all_reduce(wanted, torch.distributed.ReduceOp.MAX)
    return int(wanted.item())
