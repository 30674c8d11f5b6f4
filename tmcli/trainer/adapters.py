"""What is trained: all weights, or an adapter on frozen ones; loaded before, merged after.

    model, tokenizer = adapters.load(options)
    ... train with peft_config=adapters.adapter(options) ...
    whole = adapters.merged(model, options)

`lora`, `rslora` (scaled by the root of the rank), `dora` (direction and magnitude apart) and `qlora`, whose
frozen weights are held in 4 bits (bitsandbytes, an extra). The input and output embeddings are never adapted.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tmcli import model as models
from tmcli.errors import UsageError
from tmcli.trainer import attention


def lora(rank: int, **more: Any) -> LoraConfig:
    """LoRA on every linear layer, alpha = 2 * rank, no dropout: small data, few steps."""
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        **more,
    )


def adapter(options: Any) -> LoraConfig | None:
    """What is trained beside the weights; None: the weights themselves."""
    if options.full:
        return None
    return lora(options.rank, use_rslora=options.adapter == "rslora", use_dora=options.adapter == "dora")


def in_bf16(precision: str) -> bool:
    """Does `precision` mean bf16 on this machine?"""
    return precision == "bf16" or (precision == "auto" and models.best_dtype() == torch.bfloat16)


def load(options: Any) -> tuple[Any, Any]:
    """Model and tokenizer, to be trained as the options say.

    Weights that are trained are held in fp32 and multiplied in bf16: AdamW's small steps vanish in bf16
    weights. Frozen ones are held in the precision they are multiplied in. Raises `UsageError`.
    """
    if options.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16", "use --precision fp32")
    dtype = torch.bfloat16 if in_bf16(options.precision) and not options.full else torch.float32
    if options.adapter == "qlora" and not options.full:
        model, tokenizer = _quantized(options.model, dtype), models.load_tokenizer(options.model)
        model.config.pad_token_id = tokenizer.pad_token_id
    else:
        model, tokenizer = models.load(options.model, dtype=dtype)
    if options.packing == "on" and not attention.keeps_rows_apart(model):
        raise UsageError(
            f"rows of {options.model} cannot be packed: its attention would mix them", "use --packing off"
        )
    return model, tokenizer


def merged(model: Any, options: Any) -> Any:
    """The model with its adapter in its weights: full-precision ones, whatever it was trained on."""
    if not isinstance(model, PeftModel):
        return model
    if options.adapter == "qlora":
        base, _ = models.load(options.model)
        with tempfile.TemporaryDirectory(prefix="tm-") as folder:
            model.save_pretrained(folder)
            model = PeftModel.from_pretrained(base, folder)
    return model.merge_and_unload()


def _quantized(name: str, dtype: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("qlora needs bitsandbytes", "pip install 'tmcli[qlora]', or --adapter lora")
    how = {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
        "dtype": dtype,
        "device_map": {"": models.best_device()},
    }
    models.quiet()
    with tempfile.TemporaryDirectory(prefix="tm-") as folder:
        source = name
        if name in models.EMBEDDED or (Path(name) / "adapter_config.json").exists():
            models.load(name, dtype=dtype)[0].save_pretrained(source := folder)  # only files can be quantized
        with models.told_in_a_sentence(name):
            model = AutoModelForCausalLM.from_pretrained(source, **how)
    model.name_or_path = model.config._name_or_path = "" if name in models.EMBEDDED else name
    return model
