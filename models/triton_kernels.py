"""The edge-gated convolution as one Triton kernel; imported only where triton is installed.

Compiled for compute capability 9.0 down to machine code and run under Triton's interpreter in the
tests. It has not run on a GPU yet: block sizes are estimates.
"""

# ruff: noqa: N803 - constants of a compiled kernel
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _gate(
    rows_ptr, gate_ptr, row, column,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """(ROWS, COLUMNS) of the product of rows and gate."""
    product = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(0, WIDTH, DEPTH):
        inner = first + tl.arange(0, DEPTH)
        tile = tl.load(rows_ptr + row[:, None] * WIDTH + inner[None, :])
        gate = tl.load(gate_ptr + inner[:, None] * WIDTH + column[None, :])
        if WIDEN:
            tile = tile.to(tl.float32)
            gate = gate.to(tl.float32)
        product = tl.dot(tile, gate, acc=product, input_precision=PRECISION)
    return product


@triton.jit
def _store_rows(rows_ptr, new_rows_ptr, norms_ptr, row, column, real, logits, WIDTH: tl.constexpr):
    """New rows from their logits."""
    gain = tl.load(norms_ptr + column)
    shift = tl.load(norms_ptr + WIDTH + column)
    at = row[:, None] * WIDTH + column[None, :]
    before = tl.load(rows_ptr + at).to(tl.float32)
    normalised = logits * gain[None, :] + shift[None, :]
    after = before + normalised * tl.sigmoid(normalised)
    tl.store(new_rows_ptr + at, after.to(new_rows_ptr.dtype.element_ty), mask=real[:, None])


@triton.jit
def _store_nodes(
    projected_ptr, nodes_ptr, new_nodes_ptr, norms_ptr,
    receiver, column, present, gathered, WIDTH: tl.constexpr,
):  # fmt: skip
    """New nodes from what each (SEGMENTS, COLUMNS) gathered of its rows."""
    receiver_at = receiver[:, None] * (4 * WIDTH) + column[None, :]
    gathered += tl.load(projected_ptr + receiver_at + 3 * WIDTH).to(tl.float32)
    gain = tl.load(norms_ptr + 2 * WIDTH + column)
    shift = tl.load(norms_ptr + 3 * WIDTH + column)
    normalised = gathered * gain[None, :] + shift[None, :]
    node_at = receiver[:, None] * WIDTH + column[None, :]
    node = tl.load(nodes_ptr + node_at).to(tl.float32)
    node += normalised * tl.sigmoid(normalised)
    kind = new_nodes_ptr.dtype.element_ty
    tl.store(new_nodes_ptr + node_at, node.to(kind), mask=present[:, None])


@triton.jit
def gated_convolution(
    rows_ptr, new_rows_ptr, gate_ptr,
    projected_ptr, nodes_ptr, new_nodes_ptr, norms_ptr,
    sender_ptr, weight_ptr, begin_ptr, length_ptr, receiver_ptr, n_segments, epsilon,
    WIDTH: tl.constexpr, SEGMENTS: tl.constexpr, SPAN: tl.constexpr,
    COLUMNS: tl.constexpr, DEPTH: tl.constexpr, STORE_ROWS: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """New nodes of some segments, and their new rows, for one tile of columns.

    A segment is the rows that one node receives. A program takes ``SEGMENTS`` of them, ``SPAN``
    rows of each at a time, and all of a segment's rows one after another: its sums are its own, so
    that no program waits for another and every sum has one order. ``models.triton_conv`` describes
    the arrays. ``WIDEN`` multiplies in float32, for the interpreter, which multiplies the bits of
    bfloat16 as integers.
    """
    segment = tl.program_id(0) * SEGMENTS + tl.arange(0, SEGMENTS)
    present = segment < n_segments
    segment = tl.where(present, segment, 0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    begin = tl.load(begin_ptr + segment)
    length = tl.where(present, tl.load(length_ptr + segment), 0)
    receiver = tl.load(receiver_ptr + segment)
    receiver_at = receiver[:, None] * (4 * WIDTH) + column[None, :]
    own = tl.expand_dims(tl.load(projected_ptr + receiver_at + WIDTH).to(tl.float32), 1)
    total = tl.zeros((SEGMENTS, COLUMNS), dtype=tl.float32)
    norm = tl.zeros((SEGMENTS, COLUMNS), dtype=tl.float32)

    for start in range(0, tl.max(length, axis=0), SPAN):
        place = start + tl.arange(0, SPAN)
        inside = place[None, :] < length[:, None]
        real = tl.reshape(inside, (SEGMENTS * SPAN,))
        # In the place of rows that are not there the first is read, and left out of the sums.
        row = tl.reshape(begin[:, None] + place[None, :], (SEGMENTS * SPAN,))
        row = tl.where(real, row, 0)
        sender = tl.load(sender_ptr + row)
        weight = tl.load(weight_ptr + row).to(tl.float32)

        logits = _gate(
            rows_ptr, gate_ptr, row, column,
            WIDTH, SEGMENTS * SPAN, COLUMNS, DEPTH, PRECISION, WIDEN,
        )  # fmt: skip
        sender_at = sender[:, None] * (4 * WIDTH) + column[None, :]
        logits += tl.load(projected_ptr + sender_at).to(tl.float32)
        logits = tl.reshape(logits, (SEGMENTS, SPAN, COLUMNS)) + own
        logits = tl.reshape(logits, (SEGMENTS * SPAN, COLUMNS))
        message = tl.load(projected_ptr + sender_at + 2 * WIDTH).to(tl.float32)
        # Chosen, not multiplied by zero: what is not finite stays in its own segment.
        share = tl.where(real[:, None], tl.sigmoid(logits) * weight[:, None], 0.0)
        sent = tl.where(real[:, None], share * message, 0.0)
        total += tl.sum(tl.reshape(sent, (SEGMENTS, SPAN, COLUMNS)), axis=1)
        norm += tl.sum(tl.reshape(share, (SEGMENTS, SPAN, COLUMNS)), axis=1)

        if STORE_ROWS:
            _store_rows(rows_ptr, new_rows_ptr, norms_ptr, row, column, real, logits, WIDTH)

    _store_nodes(
        projected_ptr, nodes_ptr, new_nodes_ptr, norms_ptr,
        receiver, column, present, total / (norm + epsilon), WIDTH,
    )  # fmt: skip


@triton.jit
def interpolated_rows(
    table_ptr, value_ptr, out_ptr,
    n_rows, low, cells_per_unit,
    CELLS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Rows of a table (CELLS + 1, WIDTH) at values between its evenly spaced points."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    present = row < n_rows
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    place = (tl.load(value_ptr + row, mask=present, other=0.0) - low) * cells_per_unit
    cell = tl.minimum(tl.maximum(place.to(tl.int32), 0), CELLS - 1)
    share = (place - cell.to(tl.float32))[:, None]
    at = cell[:, None] * WIDTH + column[None, :]
    before = tl.load(table_ptr + at, mask=present[:, None], other=0.0)
    after = tl.load(table_ptr + at + WIDTH, mask=present[:, None], other=0.0)
    mixed = before + share * (after - before)
    out_at = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    tl.store(out_ptr + out_at, mixed.to(out_ptr.dtype.element_ty), mask=present[:, None])
