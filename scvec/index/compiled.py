"""The loops of `scvec.index.distances`. Imports Numba; import it only where it is used."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from scvec.core.jit import EXACT, SUMS, jit

SIGN, EXPONENT, FRACTION = np.uint32(0x8000), np.uint32(0x7C00), np.uint32(0x03FF)
REBIASED, INFINITE = np.uint32(112 << 23), np.uint32(224 << 23)
TO_FRACTION = np.uint32(13)
SUBNORMAL = np.float32(2.0**-24)

LINE_BYTES, AHEAD = 64, 4
"""Bytes of a cache line; how many candidates ahead a row is prefetched."""


@jit(EXACT)
def half_by_bits(bits: Any) -> Any:
    """Return the float32 of the bits of a float16, on a processor without float16."""
    wide = np.uint32(bits)
    exponent = wide & EXPONENT
    rest = np.uint32((exponent | (wide & FRACTION)) << TO_FRACTION)
    normal = np.uint32(rest + (INFINITE if exponent == EXPONENT else REBIASED)).view(np.float32)
    size = np.float32(wide & FRACTION) * SUBNORMAL if exponent == 0 else normal
    return -size if wide & SIGN else size


@intrinsic  # type: ignore[untyped-decorator]
def half_by_processor(_typing: Any, _bits: Any) -> Any:
    """Return the float32 of the bits of a float16, by the processor's own instruction."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


def knows_half() -> bool:
    """Return whether the processor that Numba compiles for reads float16; it may be told to compile for another."""
    if config.CPU_NAME or config.CPU_FEATURES:
        return False
    return platform.machine().lower() in ("aarch64", "arm64") or bool(get_host_cpu_features().get("f16c"))


@intrinsic  # type: ignore[untyped-decorator]
def fetch_ahead(_typing: Any, stored: Any, _row: Any) -> Any:
    """Prefetch a row of an array: rows lie anywhere, so that no processor can predict the next one."""
    byte, number = ir.IntType(8), ir.IntType(32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        how = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte.as_pointer()], how)
        start = builder.gep(
            builder.bitcast(array.data, byte.as_pointer()),
            [builder.mul(builder.extract_value(array.strides, 0), args[1])],
        )
        width = builder.mul(builder.extract_value(array.shape, 1), array.itemsize)
        first, step = (ir.Constant(width.type, n) for n in (0, LINE_BYTES))
        with cgutils.for_range_slice(builder, first, width, step) as (at, _):
            builder.call(prefetch, [builder.gep(start, [at]), number(0), number(3), number(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(stored, types.intp), codegen


half: Any = half_by_processor if knows_half() else half_by_bits


def number(stored: Any) -> Any:
    """Return a stored number as a float; a float16 comes as its bits, a uint16. For compiled loops only."""
    raise NotImplementedError


@overload(number, inline="always", strict=False)  # type: ignore[untyped-decorator]
def _number(stored: Any) -> Callable[[Any], Any]:
    return (lambda stored: half(stored)) if stored == types.uint16 else (lambda stored: stored)


@jit(SUMS)
def gather(queries: Any, stored: Any, ids: Any, distances: Any, lo: Any, hi: Any) -> None:
    """Write 1 - dot of queries [lo, hi) and their stored rows to `distances`; infinity for no row."""
    d = queries.shape[1]
    query = np.empty(d, np.float64)
    for i in range(lo, hi):
        for j in range(d):
            query[j] = queries[i, j]
        for j in range(ids.shape[1]):
            if j + AHEAD < ids.shape[1] and ids[i, j + AHEAD] >= 0:
                fetch_ahead(stored, ids[i, j + AHEAD])
            row = ids[i, j]
            if row < 0:
                distances[i, j] = np.inf
                continue
            dot = 0.0
            for c in range(d):
                dot += query[c] * np.float64(number(stored[row, c]))
            distances[i, j] = max(0.0, 1.0 - dot)
