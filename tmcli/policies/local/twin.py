"""The model as generation runs it: the same tensors in modules of its own, with faster linear layers.

    twin = Twin(model)
    twin.refresh()                        # after training changed the weights
    twin.module(input_ids=..., ragged=...)

The twin has its own configuration, attention and mode, so a trainer's model is never switched to and fro.

- On a CPU, weights are laid out once as the matrix product wants them (oneDNN's packed form): 1.6 to 2 times
  faster for few rows, and the same numbers. This is a second copy of the linear layers.
- A LoRA adapter is never merged: in bf16 most of its updates are smaller than half a unit in the last place
  of the weights and would vanish. It is two small products behind the packed one.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from tmcli.policies.local import attention

ROWS = 32
"""The number of rows that packing expects."""

_PACKED: MutableMapping[torch.Tensor, tuple[int, torch.Tensor]] = WeakIdKeyDictionary()
"""Of frozen weights, as long as they live: their version and packed form. One for all twins of a model."""


class Twin:
    """Generation's view of one model."""

    def __init__(self, model: Any) -> None:
        self._model: Any = model
        self.refresh()

    def refresh(self) -> None:
        """Make everything anew that was derived from weights that change."""
        model: Any = self._model
        if hasattr(model, "peft_config"):
            model = model.get_base_model()
        attention.register()
        with torch.inference_mode():
            self.module: Any = self._twin(model, {})
            self.module.eval()
            self.module.set_attn_implementation(attention.NAME)

    def _twin(self, module: nn.Module, configs: dict[int, Any]) -> Any:
        if (linear := self._linear(module)) is not None:
            return linear
        twin = copy.copy(module)
        twin.__dict__.pop("forward", None)  # what a trainer wrapped
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            twin.__dict__[name] = OrderedDict()
        twin._parameters = dict(module._parameters)
        twin._buffers = dict(module._buffers)
        if "config" in module.__dict__:
            twin.__dict__["config"] = copy.deepcopy(module.__dict__["config"], configs)
        twin._modules = {
            name: child if child is None else self._twin(child, configs)
            for name, child in module._modules.items()
        }
        return twin

    def _linear(self, module: nn.Module) -> nn.Module | None:
        """A faster layer for this one, where there is one."""
        if type(module) is nn.Linear:
            return Linear(module, _pack(module.weight)) if _packs(module.weight) else None
        adapter = _lora(module)
        if adapter is None:
            return None
        base: nn.Linear = module.base_layer  # type: ignore[assignment]
        return Linear(base, _pack(base.weight) if _packs(base.weight) else None, adapter)


class Linear(nn.Module):
    """y = W x + b, and + B (A x) with an adapter."""

    def __init__(
        self,
        base: nn.Linear,
        packed: torch.Tensor | None,
        adapter: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.packed = packed
        self.adapter = adapter
        """A transposed (in, r) and B transposed, scaled (r, out)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, self.in_features)
        if self.packed is None:
            y = nn.functional.linear(flat, self.weight, self.bias)
        else:
            y = torch.ops.mkldnn._linear_pointwise(flat, self.packed, self.bias, "none", [], "")
        if self.adapter is not None:
            down, up = self.adapter
            y.addmm_(flat @ down, up)
        return y.view(*x.shape[:-1], self.out_features)


def _pack(weight: torch.Tensor) -> torch.Tensor:
    known = _PACKED.get(weight)
    if known is not None and known[0] == weight._version and not weight.requires_grad:
        return known[1]
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
    if not weight.requires_grad:
        _PACKED[weight] = weight._version, packed
    return packed


def _packs(weight: torch.Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.bfloat16, torch.float32)
        and bool(torch._C._has_mkldnn)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _lora(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A and B of a plain LoRA layer; None for every other module, which then runs as it is."""
    try:
        from peft.tuners.lora import Linear as LoraLinear
    except ImportError:
        return None
    if not isinstance(module, LoraLinear) or type(module.base_layer) is not nn.Linear:
        return None
    names = [name for name in module.active_adapters if name in module.lora_A]
    if len(names) != 1 or module.merged or module.disable_adapters or getattr(module, "lora_variant", None):
        return None
    a, b = module.lora_A[names[0]], module.lora_B[names[0]]
    if getattr(b, "bias", None) is not None or module.fan_in_fan_out:
        return None
    dtype = module.base_layer.weight.dtype
    up = b.weight.detach().T * module.scaling[names[0]]
    return a.weight.detach().T.to(dtype, copy=True), up.to(dtype)
