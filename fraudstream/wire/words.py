"""What the machine can do with 64-bit words and Numba does not offer: reading one from bytes, counting zeros.

Everything is unsigned, and little-endian as the machines are that Numba compiles for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fraudstream.compiled import Int

WORD_BYTES = 8

_WORD, _WIDE = ir.IntType(64), ir.IntType(128)

read64: Callable[[Any, Int], Int]
"""The word that begins at a byte of a uint8 array; the eight bytes must be there, nothing checks that."""

multiply_high: Callable[[Int, Int], Int]
"""The upper half of the product of two words."""

trailing_zeros: Callable[[Int], Int]
"""How many bits below the lowest that is set; 64 of zero."""

leading_zeros: Callable[[Int], Int]
"""How many bits above the highest that is set; 64 of zero."""


@intrinsic  # type: ignore[no-redef]
def read64(_context: Any, data: Any, _at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        first = builder.gep(array.data, [arguments[1]], inbounds=True)
        return builder.load(builder.bitcast(first, _WORD.as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@intrinsic  # type: ignore[no-redef]
def multiply_high(_context: Any, _one: Any, _other: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one, other = (builder.zext(argument, _WIDE) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(one, other), ir.Constant(_WIDE, 64)), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic  # type: ignore[no-redef]
def trailing_zeros(_context: Any, _word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[no-redef]
def leading_zeros(_context: Any, _word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate
