"""The trainer of `tm sft`: TRL's SFTTrainer with the same loss, at the machine's speed.

    trainer = Sft(model=model, args=SFTConfig(**arguments(...)), train_dataset=dataset(rows), ...)

- The output layer is computed where a label is due and nowhere else: over 49k words it is most of a small
  model's step on a CPU. TRL's fused head computes every position there, and entropies.
- The rows of a pass are laid end to end, so nothing is padded (`attention.py`).
- Loss and accuracy of a step are over all labels of its batch, however it is cut into passes and processes.
- The order of the rows follows from the seed and the epoch alone, and each epoch ends with a whole batch,
  filled up by an empty row: so a resumed run goes on as it would have, and two processes do what one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import SFTConfig, SFTTrainer

from tmcli.records import Json
from tmcli.trainer import attention


def dataset(rows: list[tuple[list[int], list[int]]]) -> Dataset:
    """Rows of ids and mask, as the trainer takes them, and the empty row."""
    labels = [[i if m else -100 for i, m in zip(ids, mask, strict=True)] for ids, mask in rows]
    return Dataset.from_dict({"input_ids": [*(ids for ids, _ in rows), [0]], "labels": [*labels, [-100]]})


class Order(Sampler[int]):
    """Indices of all rows, then of the empty row until `batch` divides their number.

    With a seed they are shuffled anew in each epoch; `alike` brings rows of like length into one batch.
    """

    def __init__(self, data: Dataset, batch: int, seed: int | None = None, *, alike: bool = False) -> None:
        self.n, self.batch, self.seed, self.epoch = len(data) - 1, batch, seed, 0
        self.lengths = [len(ids) for ids in data["input_ids"]] if alike else None

    def set_epoch(self, epoch: int) -> None:
        """The loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n // self.batch) * self.batch

    def __iter__(self) -> Iterator[int]:
        order = list(range(self.n))
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.n, generator=generator).tolist()
        if self.lengths is not None:
            some = 8 * self.batch  # few enough that short and long rows keep taking turns
            parts = (order[at : at + some] for at in range(0, self.n, some))
            order = [i for part in parts for i in sorted(part, key=self.lengths.__getitem__, reverse=True)]
        yield from order
        yield from [self.n] * (len(self) - self.n)


class Sft(SFTTrainer):  # type: ignore[misc]  # trl ships no types
    """`train_dataset` and `eval_dataset` are as `dataset` makes them. With `padding_free` in `args`, rows are
    laid end to end if the model keeps them apart."""

    def __init__(self, *, model: Any, args: SFTConfig, **more: Any) -> None:
        args.padding_free = args.padding_free and attention.keeps_rows_apart(model)
        if args.padding_free and model.device.type == "cpu":  # elsewhere a mask keeps them apart
            attention.use(model)
        super().__init__(model=model, args=args, **more)
        self._sums: dict[str, torch.Tensor] = {}
        for module in self.model.modules():
            module.cast_input_dtype_enabled = False  # autocast does it; peft would go through fp32 and back
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # of an adapter on 4 bits TRL makes bf16

    def compute_loss(
        self,
        model: Any,
        inputs: Json,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood over the labels of the whole batch, all passes and processes."""
        labels = inputs.pop("labels")[:, 1:]  # (B, T-1): position t predicts token t+1
        columns = (labels != -100).any(0).nonzero().squeeze(1)  # (C,); B is 1 where rows are end to end
        outputs = model(**inputs, use_cache=False, logits_to_keep=columns)
        due = labels[:, columns].flatten()  # (B*C,)
        logits = outputs.logits.flatten(0, 1).float()  # (B*C, vocabulary)
        total = torch.nn.functional.cross_entropy(logits, due, reduction="sum")
        n_due = (due != -100).sum()
        right = (logits.detach().argmax(-1) == due).sum()
        mode = "train" if self.model.training else "eval"
        self._sums[mode] = self._sums.get(mode, 0) + torch.stack([total.detach(), right, n_due]).double()
        if num_items_in_batch is None:
            loss = total / n_due.clamp(min=1)
        else:  # counted over all processes, whose gradients are averaged
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the accuracy since the last call, and the loss over all held-out labels."""
        mode = "train" if self.model.training else "eval"
        if mode in self._sums:
            loss, right, n_due = self.accelerator.reduce(self._sums.pop(mode)).tolist()
            self._metrics[mode]["mean_token_accuracy"] = [right / max(1, n_due)]
            if mode == "eval":
                logs["eval_loss"] = loss / max(1, n_due)
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Order:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        data = self.train_dataset if train_dataset is None else train_dataset
        return Order(data, batch, self.args.seed, alike=not self.args.padding_free)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Order:
        return Order(eval_dataset, self.args.eval_batch_size * self.args.world_size)
