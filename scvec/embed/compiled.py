"""The loops of `scvec.embed.kernel`. Imports Numba, so import it only where it is used.

Rows are independent of each other and each is summed in the order of its values, so that a cell's vector has the same
bits in any batch and with any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from scvec.core.jit import EXACT, FUSED, SUMS, jit

LANES = 16
"""Floats per vector register, as told to the compiler; with smaller registers it uses two or four."""

FIXED, OF_ALL, OF_KNOWN = range(3)
"""What a cell is scaled by: a common total, its total over all columns, its total over known genes."""

PLAIN, BY_SUM, BY_LENGTH = range(3)
"""What the product of a row is divided by."""

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
HALF_ROOT = np.int64(0x3FE6A09E667F3BCD)
"""Bits of the square root of 1/2 as a float64."""


@jit(FUSED)
def log1p(x: Any) -> Any:
    """Return log(1 + x) for a float64 of at least 0, to a relative 1e-10; without branches, so that loops vectorise.

    1 + x is m 2^e with m near 1; log m is the series of 2 artanh((m - 1) / (m + 1)).
    """
    bits = np.float64(1.0 + x).view(np.int64)
    exponent = (bits - HALF_ROOT) >> 52
    mantissa = np.int64(bits - (exponent << 52)).view(np.float64)
    # With an exponent of 0, x itself has the digits that 1 + x has lost.
    over = x if exponent == 0 else mantissa - 1.0
    s = over / (2.0 + over)
    z = s * s
    series = 2.0 + z * (2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + z * (2 / 11)))))
    return np.float64(exponent) * (LN2_HIGH + LN2_LOW) + s * series


@jit(SUMS)
def _total(values: Any) -> Any:
    total = 0.0
    for i in range(len(values)):
        total += np.float64(values[i])
    return total


@jit(EXACT)
def count(
    data: Any,
    indices: Any,
    indptr: Any,
    gene_of: Any,
    n_genes: Any,
    merges: Any,
    kept: Any,
    plain: Any,
    lo: Any,
    hi: Any,
) -> Any:
    """Count the genes of rows [lo, hi) in `kept`; mark in `plain` the rows whose columns are one gene each.

    Return False if a column is out of the range of `gene_of`.
    """
    seen = np.full(n_genes, -1, np.int64)
    for i in range(lo, hi):
        n, last, ascending = 0, -1, True
        for p in range(indptr[i], indptr[i + 1]):
            column = indices[p]
            if column < 0 or column >= len(gene_of):
                return False
            ascending &= column > last
            last = column
            n += (gene_of[column] >= 0) & (data[p] != 0)
        plain[i] = ascending and not merges
        if not plain[i]:
            n = 0
            for p in range(indptr[i], indptr[i + 1]):
                gene = gene_of[indices[p]]
                if gene >= 0 and data[p] != 0 and seen[gene] != i:
                    seen[gene] = i
                    n += 1
        kept[i] = n
    return True


@jit(FUSED)
def fill(
    data: Any,
    indices: Any,
    indptr: Any,
    gene_of: Any,
    n_genes: Any,
    plain: Any,
    starts: Any,
    scaling: Any,
    total: Any,
    target: Any,
    values: Any,
    genes: Any,
    lo: Any,
    hi: Any,
) -> None:
    """Write rows [lo, hi), normalised, to `values` and `genes`; row i starts at `starts[i] - starts[lo]`."""
    longest = 0
    for i in range(lo, hi):
        longest = max(longest, indptr[i + 1] - indptr[i])
    linear = np.empty(longest + 1, np.float64)  # one more: omitted values are written after the last
    own = np.empty(longest + 1, np.int32)
    place = np.full(n_genes, -1, np.int64)
    for i in range(lo, hi):
        first, last = indptr[i], indptr[i + 1]
        n = 0
        for p in range(first, last):
            gene = gene_of[indices[p]]
            linear[n], own[n] = data[p], gene
            n += (gene >= 0) & (data[p] != 0)
        if not plain[i]:
            m = 0
            for j in range(n):
                gene = own[j]
                if place[gene] < 0:
                    place[gene] = m
                    own[m], linear[m] = gene, linear[j]
                    m += 1
                else:
                    linear[place[gene]] += linear[j]
            n = m
            for j in range(n):
                place[own[j]] = -1
        if scaling == OF_ALL:
            total = _total(data[first:last])
        elif scaling == OF_KNOWN:
            total = _total(linear[:n])
        scale = target / (total if total > 0 else 1.0)
        at = starts[i] - starts[lo]
        row, row_genes = values[at : at + n], genes[at : at + n]
        for j in range(n):
            row[j] = log1p(linear[j] * scale)
            row_genes[j] = own[j]


@jit(EXACT)
def count_shared(
    data: Any, indices: Any, indptr: Any, first: Any, genes: Any, n_genes: Any, kept: Any, lo: Any, hi: Any
) -> Any:
    """Count the genes of rows [lo, hi) in `kept`, where column c is of `genes[first[c]:first[c + 1]]`.

    Return False if a column is out of the range of `first`.
    """
    seen = np.full(n_genes, -1, np.int64)
    for i in range(lo, hi):
        n = 0
        for p in range(indptr[i], indptr[i + 1]):
            column = indices[p]
            if column < 0 or column + 1 >= len(first):
                return False
            if data[p] != 0:
                for q in range(first[column], first[column + 1]):
                    n += seen[genes[q]] != i
                    seen[genes[q]] = i
        kept[i] = n
    return True


@jit(FUSED)
def fill_shared(
    data: Any,
    indices: Any,
    indptr: Any,
    first: Any,
    genes: Any,
    shares: Any,
    n_genes: Any,
    starts: Any,
    scaling: Any,
    total: Any,
    target: Any,
    values: Any,
    own: Any,
    lo: Any,
    hi: Any,
) -> None:
    """Write rows [lo, hi), normalised, as `fill` does, where genes have `shares` of columns."""
    linear = np.zeros(n_genes, np.float64)
    place = np.full(n_genes, -1, np.int64)
    for i in range(lo, hi):
        at = starts[i] - starts[lo]
        row_genes = own[at : at + starts[i + 1] - starts[i]]
        n = 0
        for p in range(indptr[i], indptr[i + 1]):
            if data[p] != 0:
                for q in range(first[indices[p]], first[indices[p] + 1]):
                    gene, value = genes[q], np.float64(data[p]) * np.float64(shares[q])
                    if place[gene] < 0:
                        place[gene] = n
                        row_genes[n], linear[n] = gene, value
                        n += 1
                    else:
                        linear[place[gene]] += value
        if scaling == OF_ALL:
            total = _total(data[indptr[i] : indptr[i + 1]])
        elif scaling == OF_KNOWN:
            total = _total(linear[:n])
        scale = target / (total if total > 0 else 1.0)
        row = values[at : at + n]
        for j in range(n):
            row[j] = log1p(linear[j] * scale)
            place[row_genes[j]] = -1


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _add_up(
    _typing: Any, data: Any, genes: Any, packed: Any, sums: Any, _base: Any, _start: Any, _stop: Any, n: Any
) -> Any:
    """Write to `sums` the sum of data[p] * (n registers of `packed` at gene genes[p]), p from start to stop.

    The sums stay in registers. In a plain loop the compiler would keep them in memory, as it cannot tell that they do
    not alias the weights.
    """
    registers = n.literal_value
    vector = ir.VectorType(ir.FloatType(), LANES)
    long, short = ir.IntType(64), ir.IntType(32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, rows, weights, out = (
            cgutils.create_struct_proxy(kind)(context, builder, value=one).data
            for kind, one in zip(signature.args[:4], args[:4], strict=True)
        )
        weights = builder.gep(weights, [args[4]])
        before = builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        p = builder.phi(long)
        p.add_incoming(args[5], before)
        added = [builder.phi(vector) for _ in range(registers)]
        for one in added:
            one.add_incoming(ir.Constant(vector, [0.0] * LANES), before)
        builder.cbranch(builder.icmp_signed("<", p, args[6]), body, end)
        builder.position_at_end(body)
        empty = ir.Constant(vector, ir.Undefined)
        value = builder.insert_element(empty, builder.load(builder.gep(values, [p])), ir.Constant(short, 0))
        value = builder.shuffle_vector(value, empty, ir.Constant(ir.VectorType(short, LANES), [0] * LANES))
        gene = builder.sext(builder.load(builder.gep(rows, [p])), long)
        row = builder.gep(weights, [builder.mul(gene, ir.Constant(long, registers * LANES))])
        for k, one in enumerate(added):
            place = builder.bitcast(builder.gep(row, [ir.Constant(long, k * LANES)]), vector.as_pointer())
            weight = builder.load(place)
            weight.align = 4
            product = builder.fmul(value, weight, flags=["contract"])
            one.add_incoming(builder.fadd(one, product, flags=["contract"]), body)
        p.add_incoming(builder.add(p, ir.Constant(long, 1)), body)
        builder.branch(head)
        builder.position_at_end(end)
        for k, one in enumerate(added):
            place = builder.bitcast(builder.gep(out, [ir.Constant(long, k * LANES)]), vector.as_pointer())
            builder.store(one, place).align = 4
        return context.get_dummy_value()

    wide = types.int64
    return types.void(data, genes, packed, sums, wide, wide, wide, n), codegen


@jit(FUSED)
def project_rows(
    data: Any, genes: Any, indptr: Any, packed: Any, n_genes: Any, tile: Any, scales: Any, out: Any, lo: Any, hi: Any
) -> None:
    """Write rows [lo, hi) of the product with packed weights to `out`, each times its scale.

    It goes tile by tile of columns: a tile of all genes stays in the cache while the rows are multiplied.
    """
    d = out.shape[1]
    padded = -(-d // LANES) * LANES
    sums = np.empty(4 * LANES, np.float32)
    for first in range(0, padded, tile):
        registers = min(tile, padded - first) // LANES
        wide = min(tile, d - first)
        base = n_genes * first
        for i in range(lo, hi):
            start, stop = indptr[i], indptr[i + 1]
            if registers == 4:
                _add_up(data, genes, packed, sums, base, start, stop, 4)
            elif registers == 3:
                _add_up(data, genes, packed, sums, base, start, stop, 3)
            elif registers == 2:
                _add_up(data, genes, packed, sums, base, start, stop, 2)
            else:
                _add_up(data, genes, packed, sums, base, start, stop, 1)
            scale = np.float32(scales[i])
            for j in range(wide):
                out[i, first + j] = sums[j] * scale


@jit(SUMS)
def scale_rows(data: Any, indptr: Any, by: Any, scales: Any, lo: Any, hi: Any) -> None:
    """Write the factors of rows [lo, hi) to `scales`; 1 for an empty row."""
    for i in range(lo, hi):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            value = np.float64(data[p])
            total += value if by == BY_SUM else value * value
        if by == BY_LENGTH:
            total = np.sqrt(total)
        scales[i] = 1.0 / total if total > 0 else 1.0


@jit(EXACT)
def farthest(
    data: Any,
    genes: Any,
    indptr: Any,
    scales: Any,
    seen: Any,
    labels: Any,
    codes: Any,
    out: Any,
    top: Any,
    lo: Any,
    hi: Any,
) -> None:
    """Write for rows [lo, hi) the genes farthest above the label to `top`, and their total excess to `out`."""
    n = top.shape[1]
    best = np.empty(n, np.float32)
    for i in range(lo, hi):
        code, held = codes[i], 0
        if code < 0:
            continue
        for p in range(indptr[i], indptr[i + 1]):
            gene = genes[p]
            over = np.float32(data[p] * scales[i]) * seen - labels[code, gene]
            if not over > 0 or (held == n and over <= best[n - 1]):
                continue
            held = min(held + 1, n)
            j = held - 1
            while j > 0 and best[j - 1] < over:
                best[j], top[i, j] = best[j - 1], top[i, j - 1]
                j -= 1
            best[j], top[i, j] = over, gene
        total = np.float32(0)
        for j in range(held):
            total += best[j]
        out[i] = total


@jit(SUMS)
def products(
    genes: Any, indptr: Any, packed: Any, n_genes: Any, tile: Any, vectors: Any, out: Any, lo: Any, hi: Any
) -> None:
    """Write for rows [lo, hi) the scalar products of their genes' packed weights with the row's vector to `out`.

    It goes tile by tile of columns, as in `project_rows`.
    """
    padded = len(packed) // n_genes
    own = np.zeros(tile, np.float32)
    out[indptr[lo] : indptr[hi]] = 0
    for first in range(0, padded, tile):
        wide = min(tile, padded - first)
        base = n_genes * first
        for i in range(lo, hi):
            own[:] = 0
            for k in range(min(wide, vectors.shape[1] - first)):
                own[k] = vectors[i, first + k]
            for p in range(indptr[i], indptr[i + 1]):
                at = base + np.int64(genes[p]) * wide
                total = np.float32(0)
                for k in range(wide):
                    total += own[k] * packed[at + k]
                out[p] += total


@jit(EXACT)
def add_rows(data: Any, genes: Any, indptr: Any, scales: Any, codes: Any, sums: Any) -> None:
    """Add the values of each row, times its scale, to its group's `sums` in float64; code -1 means no group."""
    for i in range(len(codes)):
        code = codes[i]
        if code >= 0:
            for p in range(indptr[i], indptr[i + 1]):
                sums[code, genes[p]] += scales[i] * np.float64(data[p])


@jit(SUMS)
def sums_and_least(data: Any, indptr: Any, sums: Any, least: Any, lo: Any, hi: Any) -> None:
    """Write the sum of the values of each of rows [lo, hi), and the smallest of them; 1 and 1 for an empty row."""
    for i in range(lo, hi):
        first, last = indptr[i], indptr[i + 1]
        sums[i] = least[i] = 1.0
        if first < last:
            total, smallest = 0.0, data[first]
            for p in range(first, last):
                total += np.float64(data[p])
                smallest = min(smallest, data[p])
            sums[i], least[i] = total, smallest


@jit(EXACT)
def surplus(
    data: Any,
    genes: Any,
    indptr: Any,
    amounts: Any,
    depths: Any,
    shares: Any,
    dispersion: Any,
    codes: Any,
    floor: Any,
    n: Any,
    out: Any,
    lo: Any,
    hi: Any,
) -> None:
    """Write for rows [lo, hi) the sum of the n largest surpluses of genes over the label's share to `out`.

    `data` are shares of the cell's counts before they are divided by `amounts`; `depths` the counts of each cell. The
    logarithm of x is at most (x - 1) / sqrt(x): where that is too little to be kept, it is not taken.
    """
    best = np.zeros(n)
    for i in range(lo, hi):
        code = codes[i]
        if code < 0:
            continue
        best[:] = 0.0
        scale = depths[i] / amounts[i]
        for p in range(indptr[i], indptr[i + 1]):
            gene = genes[p]
            count = scale * np.float64(data[p])
            mean = depths[i] * np.float64(shares[code, gene])
            if count <= mean:
                continue
            beyond = count - mean
            if beyond * (count / np.sqrt((count + floor) * (mean + floor)) - 1.0) <= best[n - 1]:
                continue
            over = count * np.log((count + floor) / (mean + floor)) - beyond
            over /= np.sqrt(1.0 + dispersion[gene] * mean)
            if over <= best[n - 1]:
                continue
            j = n - 1
            while j > 0 and best[j - 1] < over:
                best[j] = best[j - 1]
                j -= 1
            best[j] = over
        total = 0.0
        for j in range(n):
            total += best[j]
        out[i] = total
