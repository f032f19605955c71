"""What is stored of a text that an engine has no room for."""

from __future__ import annotations


def shortened(text: str, most: int) -> str:
    """
    Return a text as it is, or its beginning with a remark of how long it was.

    :param text: any text.
    :param most: bytes that the result may have in UTF-8.
    """
    # A character has at most four bytes: most texts need not be encoded to be measured.
    if len(text) * 4 <= most:
        return text
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    remark = f"... (shortened from {len(encoded)} bytes)"
    return encoded[: max(0, most - len(remark))].decode(errors="ignore") + remark
