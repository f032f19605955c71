"""
Whether CloudTrail signed a digest: RSA PKCS#1 v1.5 with SHA-256, of what the digest says about itself.

Source: AWS CloudTrail user guide, "Custom implementations of CloudTrail log file integrity validation".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_cloudtrail.trail.digest import Fault, FetchedDigest, Verdict
from airflow_provider_cloudtrail.trail.public_keys import KEY_MARGIN, KeyRing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


def verified_early(found: FetchedDigest, ring: KeyRing) -> FetchedDigest:
    """
    Return a digest with the verdict on its own signature, if that takes no asking for keys.

    For threads that fetch: verifying lets go of Python's lock, and who goes through a chain on its own would wait
    for it at each digest.
    """
    digest = found.digest
    if digest is None or found.signature is None or not ring.has(found.key.chain.region, digest.fingerprint):
        return found
    return replace(found, verdict=Verdict(signature_fault(found, found.signature, ring)))


def own_signature_fault(found: FetchedDigest, ring: KeyRing) -> Fault | None:
    """Return what is wrong with the signature in a digest's metadata, which are there."""
    if found.verdict is not None:
        return found.verdict.fault
    return signature_fault(found, found.signature or "", ring)


def signature_fault(found: FetchedDigest, signature: str, ring: KeyRing) -> Fault | None:
    """
    Verify a signature of a digest: RSA PKCS#1 v1.5 with SHA-256.

    :param signature: in hex, from its metadata or from the next digest.
    :return: what is wrong, or None if CloudTrail signed exactly this digest.
    """
    digest = found.digest
    if digest is None:
        return Fault("invalid_format", "its contents cannot be read")
    region = found.key.chain.region
    key = ring.find(region, digest.fingerprint, found.generated_at)
    if key is None:
        return Fault("unknown_key", f"Region {region} has no public key with the fingerprint {digest.fingerprint}")
    if key.rsa is None:
        return Fault("unusable_key", f"the public key {digest.fingerprint} of Region {region} is no RSA key")
    # Only backwards: what was delivered late is signed with a later key.
    if key.valid_to is not None and key.valid_to + KEY_MARGIN < digest.end:
        return Fault("expired_key", f"signed with a key whose validity ended {key.valid_to.isoformat()}")
    if not _verifies(key.rsa, signature, digest.signed_text):
        return Fault("wrong_signature", "the signature is not one of this digest")
    return None


def _verifies(key: RSAPublicKey, signature: str, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(bytes.fromhex(signature), text, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
