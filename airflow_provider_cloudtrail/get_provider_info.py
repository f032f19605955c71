"""What Airflow is told about this provider. Imports nothing of Airflow: see the package's docstring."""

from __future__ import annotations

from typing import Any

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail.settings import OPTIONS

_INTEGRATION = "AWS CloudTrail"


def get_provider_info() -> dict[str, Any]:
    """Return the provider info that the entry point ``apache_airflow_provider`` promises."""
    return {
        # Must be the canonical name of the distribution, or every airflow command fails.
        "package-name": "airflow-provider-cloudtrail",
        "name": "AWS CloudTrail",
        "description": "Turns AWS CloudTrail into an audit table, first of all for Amazon MWAA environments.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/",
                "tags": ["aws"],
            }
        ],
        "hooks": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_cloudtrail.hooks.cloudtrail"]}
        ],
        "sensors": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_cloudtrail.sensors.cloudtrail"]}
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_cloudtrail.operators.cloudtrail",
                    "airflow_provider_cloudtrail.operators.athena",
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_cloudtrail.transfers.cloudtrail_to_sql",
            },
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_cloudtrail.transfers.event_history_to_sql",
            },
        ],
        "triggers": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_cloudtrail.triggers.cloudtrail"]}
        ],
        "extra-links": [
            "airflow_provider_cloudtrail.links.cloudtrail.CloudTrailBucketLink",
            "airflow_provider_cloudtrail.links.cloudtrail.CloudTrailEventHistoryLink",
        ],
        "config": {
            "cloudtrail": {
                "description": "Read by the example DAGs of airflow-provider-cloudtrail.",
                "options": {
                    name: {
                        "description": option.description,
                        "version_added": "0.1.0",
                        "type": option.type,
                        "example": option.example,
                        "default": option.default,
                    }
                    for name, option in OPTIONS.items()
                },
            }
        },
    }
