# SPDX-License-Identifier: Apache-2.0
"""Capture of queries, keys, values and outputs of chosen self-attentions while any network runs.

PyTorch hands every call of `scaled_dot_product_attention` to an active function mode, and hooks tell which module is
running: no network is changed, and no attention processor is written anew for each backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from muon_ad_core.errors import UserError


@dataclass(frozen=True)
class Attention:
    """One self-attention: query, key, value and output = softmax(Q K^T / sqrt(d)) V, each (B, heads, N, d).

    The output is the one before the output projection; N counts the picture's own tokens, row by row.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor

    def detach(self) -> Attention:
        """The same without gradients."""
        return Attention(*(tensor.detach() for tensor in (self.query, self.key, self.value, self.output)))


class AttentionCapture(TorchFunctionMode):
    """Context in which the attentions of `modules` are recorded, in the order in which they run.

    Every attention inside the context gets contiguous operands: on CPUs strided ones are several times slower. Of a
    joint attention over picture and text tokens (picture first) the part from picture to picture is recorded.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self._modules = modules
        self._tokens: int | None = None
        self._inside = False
        self._handles: list[Any] = []
        self.found: list[Attention] = []

    def __enter__(self) -> AttentionCapture:
        for module in self._modules:
            self._handles.append(module.register_forward_pre_hook(self._arrive, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leave))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        operands = dict(zip(("query", "key", "value"), args))
        operands.update({name: kwargs.pop(name) for name in ("query", "key", "value") if name in kwargs})
        query, key, value = (operands[name].contiguous() for name in ("query", "key", "value"))
        output = func(query, key, value, *args[3:], **kwargs)
        if self._inside:
            self._record(query, key, value, output)
        return output

    def _record(self, query: Tensor, key: Tensor, value: Tensor, output: Tensor) -> None:
        count = self._tokens
        if count is not None and count < query.shape[2]:
            query, key, value = (tensor[:, :, :count].contiguous() for tensor in (query, key, value))
            output = F.scaled_dot_product_attention(query, key, value)
        self.found.append(Attention(query, key, value, output))

    def _arrive(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs.get("hidden_states", args[0] if args else None)
        self._tokens = hidden.shape[1] if isinstance(hidden, Tensor) and hidden.ndim == 3 else None
        self._inside = True

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._inside = False


def capture_attentions(modules: Sequence[nn.Module], run: Callable[[], object]) -> list[Attention]:
    """Attentions of `modules` while `run` runs, in execution order; UserError when one does not show itself."""
    with AttentionCapture(modules) as capture:
        run()
    if len(capture.found) != len(modules):
        raise UserError(
            f"{len(capture.found)} of {len(modules)} self-attentions could be captured: use the network's default "
            "attention processors (scaled_dot_product_attention)"
        )
    return capture.found


def execution_order(modules: Mapping[str, nn.Module], run: Callable[[], object]) -> list[str]:
    """Names of `modules` in the order in which they run."""
    order: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: order.append(name))
        for name, module in modules.items()
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return order
