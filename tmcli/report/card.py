"""The model card of a trained checkpoint: `README.md`, as the Hugging Face hub reads it.

What it says comes from the run record alone. It names no path of this machine: a base that is a folder here
is called by the folder's name.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import yaml

from tmcli.records import Json, Run

PAPER = "2601.12762"
"""ToolMaster: train by trial and execution."""

HUB = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Embedded models, and where the hub has them."""

EMBEDDED = (*HUB, "tiny")
"""What `tm` brings along: no other library knows these names."""

NOT_SHOWN = {"key", "model", "policy", "function_classes"}

DATA = {
    "sft": """\
Tool-use trajectories, imitated token by token: loss is on what the model has to say itself (text, calls, turn
ends), never on tool replies.""",
    "rl": """\
Tasks with tools, played by the model itself (GRPO): each episode is rewarded as a whole, by a weighted sum of
named parts, and compared with the others of its task. Loss is on what the model said, never on tool replies.
Some episodes are in `samples.jsonl`.""",
}
"""What it was trained on, by step."""

PICTURES = {"sft": "\n\n![loss by step](loss.png)", "rl": "\n\n![outcome by step](reward.png)"}

TEXT = """\
# {name}

{base} trained with tm {tm} (tmcli) to use tools it has not seen before: it first
tries them (trial), says what it learned, and then solves the task (execution). The method is that of
ToolMaster, [arXiv {paper}](https://arxiv.org/abs/{paper}); code, data and hyper-parameters here are not
its authors'.

## Data

{data}

{counts}

## Result

{metrics}

All steps are in `metrics.jsonl`, the whole record of the run in `run.json`.{picture}

## Use

{use}

The chat template of this folder is the one it was trained with. A turn that calls tools ends with the calls;
what they answer goes back as `tool` messages.

## Training

{options}

{versions}
"""

TRANSFORMERS = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```"""

PEFT = """\
This folder holds an adapter alone; peft loads it onto its base{base}.

```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```"""

PEFT_EMBEDDED = """\
This folder holds an adapter alone. Its base comes with tm:

```python
from peft import PeftModel
from tmcli import model as models

base, tokenizer = models.load("{base}")
model = PeftModel.from_pretrained(base, "{name}")
```"""

TM = """\
```sh
tm rollout --policy {name} --tasks unseen | tm eval
```"""


def model_card(run: Run, *, picture: bool) -> str:
    """The card of a finished run; `picture`: is there one of its course?"""
    name = PurePath(run.output or "model").name
    model = str(run.options.get("model") or run.options["policy"])
    adapter = bool(run.options.get("adapter_only"))
    if adapter and model in EMBEDDED:
        how = PEFT_EMBEDDED.format(name=name, base=model)
    else:
        how = (PEFT if adapter else TRANSFORMERS).format(name=name, base=f", `{_base(model)}`")
    use = [how, TM.format(name=name)]
    text = TEXT.format(
        name=name,
        base=f"`{_base(model)}`",
        tm=run.versions.get("tm", ""),
        paper=PAPER,
        data=DATA[run.step],
        counts=_table(run.counts),
        metrics=_table({k: v for k, v in run.metrics.items() if k != "tokens_per_second"}),
        picture=PICTURES[run.step] if picture else "",
        use="\n\n".join(use),
        options=_table({k: v for k, v in run.options.items() if k not in NOT_SHOWN}),
        versions=_table(run.versions),
    )
    return f"---\n{yaml.safe_dump(_metadata(model, run.step, adapter=adapter), sort_keys=False)}---\n\n{text}"


def _metadata(model: str, step: str, *, adapter: bool) -> Json:
    data: Json = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tool-use", step, "tm", f"arxiv:{PAPER}"],
    }
    hub = HUB.get(model, model)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", hub) and not Path(model).exists():
        data["base_model"] = hub
    return data


def _base(model: str) -> str:
    """The base's name, without where it lies here."""
    return HUB.get(model) or (PurePath(model).name if Path(model).exists() else model)


def _table(values: Json) -> str:
    rows = [
        f"| {name.replace('_', ' ')} | {_cell(value)} |"
        for name, value in values.items()
        if value is not None
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
