"""Damage as disks, downloads and attackers do it, from a seed."""

import random
import struct
from collections.abc import Iterator

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutations_of(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` damaged versions of a file."""
    rng = random.Random(seed)
    for number in range(count):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _DAMAGES[(number + rng.randrange(2)) % len(_DAMAGES)](damaged, rng)
        yield bytes(damaged)


def _place(data: bytearray, rng: random.Random) -> int:
    """Most often near the beginning, where headers are."""
    return rng.randrange(max(min(len(data), rng.choice((64, 1024, len(data)))), 1))


def _change_bytes(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    data[place : place + rng.choice((1, 1, 2, 8))] = rng.randbytes(rng.choice((1, 1, 2, 8)))


def _flip_a_bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _change_a_number(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    form = rng.choice(("<I", ">I", "<H", ">H", "B"))
    size = struct.calcsize(form)
    data[place : place + size] = struct.pack(form, rng.choice(_NUMBERS) % 256**size)


def _cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove_a_part(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    del data[place : place + rng.randrange(1, 200)]


def _repeat_a_part(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    data[place:place] = data[place : place + rng.randrange(1, 200)] * rng.choice((1, 2, 50))


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randrange(1, 500))


def _zero_a_block(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(max(len(data), 1)) // 512 * 512
    data[place : place + 512] = bytes(len(data[place : place + 512]))


_DAMAGES = (
    _change_bytes,
    _change_a_number,
    _flip_a_bit,
    _cut_off,
    _remove_a_part,
    _change_a_number,
    _repeat_a_part,
    _append,
    _zero_a_block,
)
