"""The trainer: rows end to end that know nothing of each other, the exact loss, adapters merged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, set_seed

from tmcli.errors import UsageError
from tmcli.trainer import Sft, adapter, arguments, attention, dataset, load, merged
from tmcli.trainer.sft import Order

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 1},
    "qwen3": {},
    "gemma": {},
    "gemma3_text": {"sliding_window": 30, "sliding_window_pattern": 2, "query_pre_attn_scalar": 5},
    "mistral": {"sliding_window": 25},
}
LENGTHS = (5, 300, 1, 128, 70)
"""Over and under a block of queries and a window."""


def tiny(family: str, **more: Any) -> Any:
    set_seed(0)
    config = CONFIG_MAPPING[family](**SHAPE | FAMILIES.get(family, {}) | more)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float().train()


def rows_of(lengths: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 97, (1, n), generator=generator) for n in lengths]


def end_to_end(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([0, *(row.shape[1] for row in rows)])
    return {
        "input_ids": torch.cat(rows, 1),
        "position_ids": torch.cat([torch.arange(row.shape[1]) for row in rows])[None],
        "cu_seq_lens_q": lengths.cumsum(0).int(),
    }


def score(model: Any, rows: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(logits of all tokens, gradients of a sum that weighs every one of them)."""
    model.zero_grad()
    logits = torch.cat([model(**row, use_cache=False).logits[0] for row in rows])
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    (logits.log_softmax(-1) * weights).sum().backward()
    return logits.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_end_to_end_are_rows_alone(family: str) -> None:
    model, rows = tiny(family), rows_of(LENGTHS)
    model.set_attn_implementation("eager")
    logits, gradients = score(model, [{"input_ids": row} for row in rows])
    model.set_attn_implementation("sdpa")
    assert attention.keeps_rows_apart(model)
    for use in (lambda _: None, attention.use):  # the mask that a GPU would have; then ours
        use(model)
        packed, packed_gradients = score(model, [end_to_end(rows)])
        torch.testing.assert_close(packed, logits, rtol=1e-4, atol=1e-5)
        for one, other in zip(packed_gradients, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())

    # and a packing that forgets where rows begin, or only counts positions anew, is found out
    naive = end_to_end(rows) | {"cu_seq_lens_q": torch.tensor([0, sum(LENGTHS)])}
    for wrong in (naive, naive | {"position_ids": torch.arange(sum(LENGTHS))[None]}):
        assert (score(model, [wrong])[0] - logits).abs().max() > 1e-2


def test_bf16_is_as_exact_as_pytorch_s_own() -> None:
    model, rows = tiny("llama"), rows_of((300,))
    exact, gradients = score(model, [end_to_end(rows)])
    errors = []
    for use in (lambda _: None, attention.use):
        use(model)
        with torch.autocast("cpu", torch.bfloat16):
            logits, found = score(model, [end_to_end(rows)])
        norm = sum((a - b).square().sum() for a, b in zip(found, gradients, strict=True)).sqrt().item()
        errors.append(((logits - exact).square().mean().sqrt().item(), norm))
    for own, ours in zip(*errors, strict=True):
        assert ours < 1.5 * own


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("gemma2", {"query_pre_attn_scalar": 8}),  # caps scores
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("llama", {"attention_dropout": 0.1}),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention", "full_attention"]}),
    ],
)
def test_models_that_would_mix_rows_are_known(family: str, more: dict[str, Any]) -> None:
    set_seed(0)
    config = CONFIG_MAPPING[family](**SHAPE | FAMILIES.get(family, {}) | more)
    assert not attention.keeps_rows_apart(AutoModelForCausalLM.from_config(config))


def test_order_follows_from_seed_and_epoch() -> None:
    data = dataset([([0] * n, [1] * n) for n in (9, 3, 7, 1, 5, 8, 2, 6, 4, 9)])
    order = Order(data, 4, seed=3)
    first = list(order)
    assert sorted(first[:10]) == list(range(10))
    assert first[10:] == [10, 10]  # the empty row fills the last batch
    assert len(order) == len(first) == 12
    order.set_epoch(1)
    assert list(order) != first
    assert list(Order(data, 4, seed=3)) == first
    assert list(Order(data, 4)) == [*range(10), 10, 10]
    assert list(Order(data, 5, seed=3, alike=True))[:2] in ([0, 9], [9, 0])


def options(**more: Any) -> SimpleNamespace:
    usual = {
        "model": "tiny",
        "full": False,
        "adapter": "lora",
        "rank": 4,
        "packing": "auto",
        "precision": "fp32",
        "gradient_checkpointing": False,
        "learning_rate": 1e-2,
        "epochs": 1.0,
        "batch_size": 4,
        "max_length": 512,
        "seed": 0,
    }
    return SimpleNamespace(**usual | more)


ROWS = [
    ([(7 * n + 3 * i) % 250 + 3 for i in range(n)], [int(i > n // 2 or i % 5 == 1) for i in range(n)])
    for n in (40, 20, 31, 5, 60, 33, 150, 8, 12, 29)
]


def trained(part: Path, chosen: Any) -> tuple[Any, list[dict[str, float]]]:
    """(the trainer, what it logged)."""
    from trl import SFTConfig

    model, tokenizer = load(chosen)
    trainer = Sft(
        model=model,
        args=SFTConfig(**arguments(part, chosen) | {"prediction_loss_only": True}),
        train_dataset=dataset(ROWS),
        eval_dataset=dataset(ROWS[:7]),
        processing_class=tokenizer,
        peft_config=adapter(chosen),
    )
    trainer.train()
    return trainer, [line for line in trainer.state.log_history if "loss" in line]


def test_the_loss_is_trls(tmp_path: Path) -> None:
    """The same batches through TRL's own trainer, padded and whole: same losses, accuracies, weights."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class Plain(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Dataset | None = None) -> list[int]:
            return list(Order(dataset(ROWS), 4, seed=0))[: len(ROWS)]

    chosen = options()
    ours, logged = trained(tmp_path, chosen)
    model, tokenizer = load(chosen)
    plain = {**arguments(tmp_path, chosen), "per_device_train_batch_size": 4, "padding_free": False}
    theirs = Plain(
        model=model,
        args=SFTConfig(**plain | {"gradient_accumulation_steps": 1}),
        train_dataset=dataset(ROWS).select(range(len(ROWS))),
        processing_class=tokenizer,
        peft_config=adapter(chosen),
    )
    theirs.train()
    expected = [line for line in theirs.state.log_history if "loss" in line]
    assert len(logged) == len(expected) == 3
    for mine, line in zip(logged, expected, strict=True):
        for name in ("loss", "mean_token_accuracy", "grad_norm"):
            assert mine[name] == pytest.approx(line[name], rel=1e-3, abs=1e-5), name
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_the_held_out_loss_is_over_tokens(tmp_path: Path) -> None:
    trainer, _ = trained(tmp_path, options())
    found = trainer.evaluate()
    losses, right = [], []
    with torch.no_grad():
        for ids, mask in ROWS[:7]:
            lengths = torch.tensor([0, len(ids)])
            logits = trainer.model(input_ids=torch.tensor([ids]), cu_seq_lens_q=lengths).logits[0, :-1]
            due = torch.tensor(ids[1:])[torch.tensor(mask[1:]) == 1]
            logits = logits[torch.tensor(mask[1:]) == 1]
            losses += torch.nn.functional.cross_entropy(logits, due, reduction="none").tolist()
            right += (logits.argmax(-1) == due).tolist()
    assert found["eval_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert found["eval_mean_token_accuracy"] == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    "more",
    [{"packing": "off"}, {"gradient_checkpointing": True}, {"batch_size": 4, "precision": "bf16"}],
    ids=str,
)
def test_ways_to_compute_change_no_loss(more: dict[str, Any], tmp_path: Path) -> None:
    usual = trained(tmp_path, options(full=True))[1][0]  # the first step: what rows come is the same for all
    other = trained(tmp_path, options(full=True, **more))[1][0]
    if more.get("packing") == "off":  # rows of like length come together
        assert other["loss"] > 0
    else:
        tolerance = 2e-2 if "precision" in more else 1e-5
        assert other["loss"] == pytest.approx(usual["loss"], rel=tolerance)
        assert other["grad_norm"] == pytest.approx(usual["grad_norm"], rel=5 * tolerance)


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "qlora"])
def test_a_merged_adapter_says_the_same(kind: str, tmp_path: Path) -> None:
    if kind == "qlora":
        pytest.importorskip("bitsandbytes")
    chosen = options(adapter=kind, epochs=3.0)
    trainer, logged = trained(tmp_path, chosen)
    assert logged[-1]["loss"] < logged[0]["loss"]
    row = {"input_ids": torch.tensor([ROWS[4][0]]), "cu_seq_lens_q": torch.tensor([0, 60])}
    trainer.model.eval()
    before = {name: p.shape for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert not any("embed" in name or "lm_head" in name for name in before)
    with torch.no_grad():
        adapted = trainer.model(**row).logits
        whole = merged(trainer.model, chosen)
        says = whole(**row).logits
    assert all(p.dtype in (torch.float32, torch.bfloat16) for p in whole.parameters())
    assert whole.get_input_embeddings().weight is whole.get_output_embeddings().weight
    if kind == "qlora":  # trained beside rounded weights, merged into exact ones
        assert (says.float() - adapted).abs().mean() < 0.3 * adapted.std()
    else:
        torch.testing.assert_close(says, adapted, rtol=1e-4, atol=1e-4)


def test_a_model_that_mixes_rows_is_refused_when_packing_is_asked_for(tmp_path: Path) -> None:
    tiny("llama", attention_dropout=0.1).save_pretrained(tmp_path)
    load(options())[1].save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="--packing off"):
        load(options(model=str(tmp_path), packing="on"))
    model, _ = load(options(model=str(tmp_path)))
    assert model.config._attn_implementation == "sdpa"


def test_processes_share_a_batch(tmp_path: Path) -> None:
    for n in (1, 2, 4):
        made = arguments(tmp_path, options(batch_size=8), n)
        assert made["per_device_train_batch_size"] * made["gradient_accumulation_steps"] * n == 8
