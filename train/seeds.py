"""Seeds that follow from what they are for, and not from an order."""

import hashlib


def number_of(*parts: int | str) -> int:
    """0 to 2**63 - 1: a seed that has nothing in common with those of other parts."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
