from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cloudtrail.trail.notification import read_notification

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from([
                "Records",
                "Message",
                "s3",
                "s3ObjectKey",
                "s3Bucket",
                "bucket",
                "object",
                "key",
                "detail",
            ])
            | st.text(),
            inner,
        )
    ),
)


@given(JSON.map(json.dumps) | st.text())
def test_whatever_comes_is_read_dropped_or_poison(body):
    found = read_notification(body)
    assert (found.poison is None) or (found.files, found.dropped) == ((), ())
