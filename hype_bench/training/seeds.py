"""One seed per purpose, so that a technique that draws noise moves neither the data order nor the head."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str) -> int:
    """A seed below 2^63 for one purpose (``head``, ``order``, ``dropout``) of the run with this seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
