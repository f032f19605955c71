"""
How obstore is set up to ask for a bucket as a boto3 client does, and when it cannot be.

What the AWS connection says is known to the client alone: address and Region, certificates, proxies, timeouts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

if TYPE_CHECKING:
    import obstore.store


def fits_obstore(client: Any) -> bool:
    """Tell whether obstore can honour the settings of the client; proxies and signing by others stay with boto3."""
    config = client.meta.config
    return not (
        config.proxies
        or getattr(config, "proxies_config", None)
        or getattr(config, "client_cert", None)
        # obstore signs in this way alone.
        or config.signature_version != "s3v4"
        or _is_ignored_proxy(client.meta.endpoint_url)
    )


def address_of(client: Any, bucket: str) -> tuple[str, str]:
    """
    Return the URL at which a boto3 client asks for a bucket, and the Region that it signs for; nothing is sent.

    :param client: boto3 S3 client that no other thread uses yet.
    :param bucket: name of the bucket, or alias of an access point.
    :raises ValueError: if it does not ask, because something else answers, or asks another service than S3.
    """
    asked: list[tuple[str, str, str]] = []

    def answer(params: Any, context: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        signing = context.get("signing", {})
        region, service = signing.get("region") or client.meta.region_name, signing.get("signing_name") or "s3"
        asked.append((params["url"].rstrip("/"), region, service))
        return SimpleNamespace(status_code=200), {}

    events = client.meta.events
    events.register("before-call.s3.HeadBucket", answer)
    try:
        client.head_bucket(Bucket=bucket)
    finally:
        events.unregister("before-call.s3.HeadBucket", answer)
    if not asked:
        raise ValueError("boto3 does not ask S3 for the bucket")
    url, region, service = asked[0]
    if service != "s3":
        raise ValueError(f"boto3 signs for {service}")
    return url, region


def _is_ignored_proxy(endpoint: str) -> bool:
    """Tell whether the environment names a proxy that boto3 does not ask and obstore would: ALL_PROXY."""
    proxies = getproxies()
    return "all" in proxies and endpoint.partition(":")[0] not in proxies


def trusted(session: Any, verify: bool | str | None) -> dict[str, Any]:
    """
    Return the options for the certificates that a boto3 client trusts.

    :param session: boto3 session whose configuration or environment may name a CA bundle.
    :param verify: as in boto3: a CA bundle, False for no verification, True for no look at the environment.
    :raises OSError: if there is no such file.
    """
    bundle = verify
    if verify is None:
        bundle = session._session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not bundle or bundle is True:
        return {"allow_invalid_certificates": bundle is False}
    # It takes the place of what the system trusts.
    return {"root_certificate": Path(bundle).read_bytes(), "disable_system_certificates": True}


def settings_of(client: Any, bucket: str, session: Any, verify: bool | str | None) -> dict[str, Any]:
    """
    Return what obstore is told of a bucket, so that it is asked for as a boto3 client asks for it.

    :param client: boto3 S3 client that no other thread uses yet.
    :param bucket: name of the bucket, or alias of an access point.
    :param session: boto3 session that the client comes from.
    :param verify: see :func:`trusted`.
    :raises ValueError: if boto3 does not ask for it.
    :raises OSError: if there is no CA bundle where one is named.
    """
    config = client.meta.config
    # Who reads is told alike by both, as far as a header can.
    agent = str(config.user_agent or "")
    options: dict[str, Any] = {"user_agent": agent} if agent and agent.isascii() and agent.isprintable() else {}
    options |= trusted(session, verify) | {
        "allow_http": client.meta.endpoint_url.startswith("http://"),
        "connect_timeout": timedelta(seconds=config.connect_timeout or 60),
        # Of the whole request, where boto3's is of one read.
        "timeout": timedelta(seconds=max(300, config.read_timeout or 0)),
    }
    # What boto3 resolved: a private endpoint, FIPS, dual stack, another partition, and the host. Access points have one
    # of their own and no other, and networks that let a worker ask that of a bucket may not let it ask that of all.
    address, region = address_of(client, bucket)
    return {
        "bucket": bucket,
        "endpoint": address,
        "region": region,
        # The address names the bucket, be it in its host or in its path.
        "virtual_hosted_style_request": True,
        "client_options": options,
        # Else the environment has the say, in variables that boto3 does not know: AWS_SKIP_SIGNATURE and the like.
        "skip_signature": False,
        "request_payer": False,
        # Versions before 0.9 do not take it: the bucket is read through boto3 then.
        **({"server_side_encryption": "AES256"} if "AWS_SERVER_SIDE_ENCRYPTION" in os.environ else {}),
    }


def obstore_store(settings: dict[str, Any], credentials: Callable[[], Any], *, retries: int) -> obstore.store.S3Store:
    """
    Return a store of obstore.

    :param settings: see :func:`settings_of`.
    :param credentials: returns credentials as obstore takes them.
    :param retries: how often a request is tried again.
    """
    from obstore.exceptions import UnknownConfigurationKeyError
    from obstore.store import S3Store as ObstoreS3Store

    store = partial(
        ObstoreS3Store,
        **settings,
        credential_provider=credentials,
        retry_config={"max_retries": retries, "retry_timeout": timedelta(minutes=2)},
    )
    try:
        # Else AWS_ENDPOINT_URL_S3 of the environment would come before the endpoint.
        return store(aws_endpoint_url_s3=settings["endpoint"])
    except UnknownConfigurationKeyError:
        # Older versions do not look at it.
        return store()
