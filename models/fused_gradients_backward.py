"""The gradients of one stage of a training on CPUs, made from what its forward pass has kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.fused_gradients_shape import Shape
from models.fused_gradients_stage import BACKWARD, COLLECT, Job, needed, row_bounds
from models.inference_groups import RowGroups


class Backward:
    """The gradients of one stage."""

    def __init__(self, ctx: Any, grad_out: Tensor | None, grad_gathered: Tensor | None) -> None:
        (
            self.inputs, self.weight, self.logits, self.count, self.products, self.mean,
            self.inverse_std, self.scale, self.offset, *of_nodes,
        ) = ctx.saved_tensors  # fmt: skip
        self.shape: Shape = ctx.shape
        self.needs: tuple[bool, ...] = ctx.needs_input_grad
        self.grad_out = None if grad_out is None else grad_out.contiguous()
        self.found = needed()
        width = self.logits.shape[1]
        self.job = Job(width=width, n_in=self.inputs.shape[1]).set(
            inputs=self.inputs, logits=self.logits, count=self.count, grad_out=self.grad_out
        )
        self.gathered = None
        if self.shape.groups is not None:
            self.gathered = (
                torch.zeros_like(of_nodes[0]) if grad_gathered is None else grad_gathered
            ).contiguous()
            self.job.with_groups(self.shape.groups).set(
                products=self.products, mean=of_nodes[0], inverse_norm=of_nodes[1],
                grad_gathered=self.gathered,
            )  # fmt: skip

    def gradients(self) -> tuple[Tensor | None, ...]:
        """In the order of what ``_Stage.forward`` takes."""
        for_gain, for_shift = self._norm() if self.grad_out is not None else (None, None)
        for_inputs, for_weight, for_bias, for_products = self._rows()
        for_before = None if self.shape.residual else self.grad_out
        return (
            None, for_inputs, for_weight, for_bias, for_gain, for_shift,
            for_before if self.needs[6] else None, for_products,
        )  # fmt: skip

    def _norm(self) -> tuple[Tensor, Tensor]:
        """Gradients of gain and shift; sets what the moments give back to each row."""
        norm, grad_out = self.shape.norm, self.grad_out
        assert norm is not None
        assert grad_out is not None
        bounds = row_bounds(len(grad_out))
        sums = torch.zeros(len(bounds) - 1, 2, grad_out.shape[1], dtype=torch.float64)
        self.job.set(gain=self.scale, shift=self.offset, pivot=self.mean)
        self.found.run(self.job, COLLECT, bounds, grad_moments=sums)
        for_shift, times_part = sums.sum(0)
        inverse_std = self.inverse_std.double()
        self.pulls = torch.zeros(2, grad_out.shape[1])
        if norm.training:
            share = self.scale.double() / float(self.count.sum(dtype=torch.float64))
            self.pulls[0] = share * for_shift
            self.pulls[1] = share * inverse_std.square() * times_part
        self.job.set(pull_fixed=self.pulls[0], pull_slope=self.pulls[1])
        return (inverse_std * times_part).float(), for_shift.float()

    def _rows(self) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of inputs, weight, bias and products."""
        shape, job, weight = self.shape, self.job, self.weight
        parts = torch.get_num_threads()
        own: dict[str, Tensor | list[Tensor]] = {}
        biases = self.logits.new_zeros(parts, self.logits.shape[1], dtype=torch.float64)
        sums: list[Tensor] = []
        if shape.groups is not None:
            own["grad_products"] = sums = self._grad_products(shape.groups, parts)
        else:
            own["grad_bias"] = biases
        needed = self.needs[1] or weight is None
        for_inputs = torch.empty_like(self.inputs) if needed else None
        for_weight = None
        if weight is None:
            self._run(job.set(grad_logits=for_inputs), own)
        elif self.found.multiplies(*weight.shape):
            for_weight = self._on_units(for_inputs, own, parts)
        else:
            for_weight = self._by_pytorch(for_inputs, own)
        if shape.groups is None:
            for_bias = None if weight is None else biases.sum(0).float()
            return for_inputs, for_weight, for_bias, None
        for_products = sums[0]
        for other in sums[1:] if shape.groups.weight_by_row else ():
            for_products += other
        assert self.gathered is not None
        width = self.logits.shape[1]
        for_products[:, 3 * width :] = self.gathered
        return for_inputs, for_weight, for_products[:, width : 2 * width].sum(0), for_products

    def _grad_products(self, groups: RowGroups, parts: int) -> list[Tensor]:
        """Of each thread. Every source belongs to the groups of one thread, or each has its own."""
        first = torch.zeros_like(self.products)
        if not groups.weight_by_row:
            return [first] * parts
        return [first, *(torch.zeros_like(first) for _ in range(parts - 1))]

    def _run(self, job: Job, own: dict[str, Tensor | list[Tensor]]) -> None:
        """All rows at once."""
        ((begin, end, _, _),) = self.shape.chunks(len(self.inputs), self.logits.shape[1], True)
        self.found.run(job, BACKWARD, self.shape.bounds(begin, end), **own)

    def _on_units(
        self, for_inputs: Tensor | None, own: dict[str, Tensor | list[Tensor]], parts: int
    ) -> Tensor:
        weight = self.weight
        matrix = self.found.arranged(weight)
        sums = torch.zeros(parts, *weight.shape)
        self.job.residual = int(self.shape.residual and self.grad_out is not None)
        self.job.set(matrix=matrix, matrix_back=matrix, grad_inputs=for_inputs)
        self._run(self.job, {**own, "grad_matrix": sums})
        return sums.sum(0)

    def _by_pytorch(
        self, for_inputs: Tensor | None, own: dict[str, Tensor | list[Tensor]]
    ) -> Tensor:
        chunks = self.shape.chunks(len(self.inputs), self.logits.shape[1], False)
        most = max(last - first for _, _, first, last in chunks)
        space = self.logits.new_empty(most, self.logits.shape[1])
        for_weight = torch.zeros_like(self.weight)
        self.job.set(grad_logits=space)
        for begin, end, first, last in chunks:
            self.job.first_row_of_grad = first
            self.found.run(self.job, BACKWARD, self.shape.bounds(begin, end), **own)
            pull = space[: last - first]
            for_weight.addmm_(pull.T, self.inputs[first:last])
            if for_inputs is None:
                continue
            if self.shape.residual and self.grad_out is not None:
                torch.addmm(
                    self.grad_out[first:last], pull, self.weight, out=for_inputs[first:last]
                )
            else:
                torch.mm(pull, self.weight, out=for_inputs[first:last])
        return for_weight
