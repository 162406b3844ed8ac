"""Training on CPUs: stages of the trunk with their gradients by hand, through ``fused_training.c``.

The same function and gradients as autograd's of ``models.alignn``, to single-precision round-off.
Forward keeps a stage's inputs, logits and moments; gates, activations and normalised rows are made
again, group by group in a core's cache, when the gradient passes. Where a processor has matrix
units, products are of numbers in bfloat16 parts: see ``fused_training_products.c``.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.fused_gradients_backward import Backward
from models.fused_gradients_shape import Shape
from models.fused_gradients_stage import (
    ACTIVATE,
    BLOCK,
    FORWARD,
    Job,
    Trainer,
    needed,
    row_bounds,
    trainer,
)

__all__ = ["Shape", "how_trained", "multiply", "stage", "trains", "wanted"]

VARIABLE = "IONSCREEN_FUSED_TRAINING"
"""Environment variable; ``0`` leaves all gradients to autograd."""


def trains(x: Tensor, width: int) -> bool:
    """Whether stages of so many channels take rows like these: float32 on a CPU, with gradients."""
    return (
        torch.is_grad_enabled()
        and len(x) > 1
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and Trainer.takes(width)
        and wanted()
    )


def wanted() -> bool:
    """Whether the library is there and the user does not forbid it."""
    return os.environ.get(VARIABLE, "") != "0" and trainer() is not None


def how_trained(device: str) -> str:
    """What multiplies and differentiates in a training on a device, for a card."""
    found = trainer() if wanted() and torch.device(device).type == "cpu" else None
    if found is None:
        return "PyTorch"
    products = "matrix units, float32 in bfloat16 parts" if found.units else "PyTorch"
    return f"compiled stages, products by {products}"


def multiply(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x`` (rows, n_in) times ``weight`` (n_out, n_in), plus ``bias``, on matrix units."""
    found = trainer()
    if found is None or not found.multiplies(*weight.shape):
        return nn.functional.linear(x, weight, bias)
    out: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Product(torch.autograd.Function):
    """A linear layer on matrix units."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        ctx.save_for_backward(x, weight)
        return needed().multiply(x, weight.T, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        grad, found = grad.contiguous(), needed()
        return (
            found.multiply(grad, weight) if for_x else None,
            found.multiply_columns(grad, x) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


def stage(
    shape: Shape,
    inputs: Tensor,
    linear: tuple[Tensor, Tensor] | None,
    *,
    before: Tensor | None = None,
    products: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Product, gate, norm, SiLU and residual of rows, of which a part may be absent.

    Args:
        shape: which parts there are.
        inputs: (rows, n_in).
        linear: weight (width, n_in) and bias (width,); None: inputs are the logits.
        before: (rows, width), added to what comes out.
        products: (nodes, 4 width), with a gate: source gate, destination gate, message, own.

    Returns:
        (rows, width), None without a norm; and (nodes, width) own and gathered, None without gate.
    """
    weight, bias = linear or (None, None)
    if weight is not None:
        inputs, weight = _padded(inputs, weight)
    norm = shape.norm
    gain, shift = (None, None) if norm is None else (norm.weight, norm.bias)
    out, gathered, mean, variance = _Stage.apply(  # type: ignore[no-untyped-call]
        shape, inputs, weight, bias, gain, shift, before, products
    )
    if norm is not None and norm.training:
        with torch.no_grad():
            _update(norm, mean, variance, shape.total(len(inputs)))
    return out, gathered


def _padded(inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """With columns of zeros where that lets matrix units multiply them."""
    more = -inputs.shape[1] % BLOCK
    if not more or not needed().multiplies(inputs.shape[1] + more, len(weight)):
        return inputs, weight
    return nn.functional.pad(inputs, (0, more)), nn.functional.pad(weight, (0, more))


def _update(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, total: float) -> None:
    """Running moments, as ``alignn.WeightedBatchNorm`` updates them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    momentum = norm.momentum or 0.0
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (total / (total - 1)), momentum)


class _Stage(torch.autograd.Function):
    """``stage``, and the moments of its logits."""

    @staticmethod
    def forward(
        ctx: Any,
        shape: Shape,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gain: Tensor | None,
        shift: Tensor | None,
        before: Tensor | None,
        products: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        inputs = inputs.contiguous()
        if shape.residual:
            before = inputs
        elif before is not None:
            before = before.contiguous()
        width = inputs.shape[1] if weight is None else len(weight)
        logits = inputs if weight is None else inputs.new_empty(len(inputs), width)
        count = inputs.new_ones(len(inputs)) if shape.count is None else shape.count.reshape(-1)
        job = Job(width=width, n_in=inputs.shape[1]).set(logits=logits)
        of_nodes: tuple[Tensor, ...] = ()
        gathered = None
        if shape.groups is not None:
            assert products is not None
            job.with_groups(shape.groups)
            of_nodes = tuple(inputs.new_empty(len(products), width) for _ in range(2))
            gathered = inputs.new_empty(len(products), width)
            job.set(products=products, mean=of_nodes[0], inverse_norm=of_nodes[1])
            job.set(gathered=gathered)
        norm = shape.norm
        if norm is not None and norm.training:
            job.set(count=count)
        sums = _forward_products(job, shape, inputs, weight, bias, logits)
        out = mean = variance = scale = offset = inverse_std = None
        if norm is not None:
            assert gain is not None
            assert shift is not None
            mean, variance = _moments(norm, sums, shape.total(len(inputs)))
            inverse_std = torch.rsqrt(variance + norm.eps)
            scale = gain * inverse_std
            offset = torch.addcmul(shift, mean, scale, value=-1.0)
            out = torch.empty_like(logits)
            job.set(gain=scale, shift=offset, before=before, out=out)
            needed().run(job, ACTIVATE, row_bounds(len(logits)))
            mean, variance = mean.clone(), variance.clone()
            ctx.mark_non_differentiable(mean, variance)
        ctx.shape = shape
        ctx.save_for_backward(
            inputs, weight, logits, count, products, mean, inverse_std, scale, offset, *of_nodes
        )
        ctx.set_materialize_grads(False)
        return out, gathered, mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor | None, grad_gathered: Tensor | None, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return Backward(ctx, grad_out, grad_gathered).gradients()


def _forward_products(
    job: Job,
    shape: Shape,
    inputs: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    logits: Tensor,
) -> Tensor:
    """Logits and what hangs on them; returns sums (2, width) of the moments, float64."""
    found, rows = needed(), len(inputs)
    parts = torch.get_num_threads()
    sums = torch.zeros(parts, 2, logits.shape[1], dtype=torch.float64)
    on_units = weight is not None and found.multiplies(*weight.shape)
    if on_units:
        assert weight is not None
        arranged = found.arranged(weight.T)
        job.set(inputs=inputs, matrix=arranged, bias=bias)
    for begin, end, first, last in shape.chunks(rows, logits.shape[1], weight is None or on_units):
        if weight is not None and not on_units:
            assert bias is not None
            torch.addmm(bias, inputs[first:last], weight.T, out=logits[first:last])
        found.run(job, FORWARD, shape.bounds(begin, end), moments=sums)
    return sums.sum(0)


def _moments(norm: nn.BatchNorm1d, sums: Tensor, total: float) -> tuple[Tensor, Tensor]:
    """Mean and variance that the norm takes, float32."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not norm.training:
        return norm.running_mean, norm.running_var
    mean, square = sums / total
    return mean.float(), (square - mean.square()).clamp(min=0.0).float()
