from __future__ import annotations

from airflow_provider_cloudtrail.trail.digest import digest_key
from tests.support.signed_trail import SignedTrail


def test_keys_are_read_from_the_right():
    trail = SignedTrail().build()
    key = digest_key(trail.digests[0])
    assert (key.chain.trail_name, key.chain.home_region, key.chain.backfill) == ("audit_trail", "eu-central-1", False)
    assert digest_key(trail.digests[0].replace(".json.gz", "_backfill.json.gz")).chain.backfill
    assert digest_key(trail.logs(0)[0]) is None
