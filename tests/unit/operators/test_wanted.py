from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.operators.wanted import selection
from airflow_provider_cloudtrail.trail.environment import MWAA_EVENT_NAMES
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES, Selection

IAM = "iam.amazonaws.com"


def wanted(sources=MWAA_EVENT_SOURCES, event_names=None, environment_names=None, activity=False):
    return selection(sources, event_names, environment_names, activity)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({}, Selection.of(), id="default"),
        pytest.param({"sources": None}, Selection.of(None), id="all"),
        pytest.param({"sources": [IAM, "ecr-public.amazonaws.com"]}, None, id="others"),
        pytest.param({"sources": "api.ecr.amazonaws.com.cn"}, None, id="China"),
        pytest.param({"sources": IAM, "event_names": ["CreateUser", "REST.GET.x"]}, None, id="names of others"),
        pytest.param({"event_names": sorted(MWAA_EVENT_NAMES)}, None, id="names of MWAA"),
        pytest.param({"environment_names": ["orders", "arn"]}, None, id="environments"),
    ],
)
def test_names_as_cloudtrail_writes_them_are_nothing_to_talk_of(arguments, expected, caplog):
    found = wanted(**arguments)
    assert expected is None or found.to_text() == expected.to_text()
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"sources": ["AIRFLOW.amazonaws.com", IAM]},
            "event_sources: 'AIRFLOW.amazonaws.com' is in no record.*write 'airflow.amazonaws.com'$",
            id="source",
        ),
        pytest.param(
            {"event_names": ["createenvironment", "DeleteEnvironment", "create_cli_token"]},
            "event_names: 'createenvironment', 'create_cli_token' is in.*write 'CreateEnvironment', 'CreateCliToken'$",
            id="names",
        ),
        pytest.param({"event_names": "get-environment"}, "write 'GetEnvironment'$", id="name of the AWS CLI"),
        pytest.param(
            {"environment_names": "arn:aws:airflow:eu-west-1:111122223333:environment/orders"},
            "environment/orders' is an ARN, and names are compared; write 'orders'$",
            id="ARN of an environment",
        ),
        pytest.param(
            {"environment_names": "arn:aws:airflow-serverless:eu-west-1:111122223333:workflow/nightly-Ab3dE5fG7h"},
            "names are compared; write 'nightly'$",
            id="ARN of a workflow",
        ),
        pytest.param(
            {"environment_names": ["sales", "arn:aws:mwaa:eu-west-1:111122223333:environment/orders"]},
            "environment_names: 'arn:[^,]*' is an ARN, and names are compared; write 'orders'$",
            id="ARN of no service, beside a name",
        ),
        pytest.param({"sources": "airflow"}, "event_sources: 'airflow' is no event source", id="no source"),
        pytest.param({"sources": []}, "^event_sources", id="no sources"),
        pytest.param({"event_names": []}, "^event_names", id="no names"),
        pytest.param({"environment_names": []}, "^environment_names", id="no environments"),
        pytest.param({"activity": "no"}, "^include_environment_activity='no'", id="a text as a switch"),
    ],
)
def test_what_is_known_to_select_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        wanted(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            {"sources": "IAM.amazonaws.com"}, "such as this in eventSource: 'IAM.amazonaws.com'", id="capitals"
        ),
        pytest.param({"sources": [IAM, "aws.iam"]}, "such as this in eventSource: 'aws.iam'", id="EventBridge's"),
        pytest.param({"sources": "mwaa.amazonaws.com"}, "that of MWAA is airflow.amazonaws.com", id="abbreviation"),
        pytest.param({"event_names": "CreateEnvironmnt"}, "no API action of MWAA is known of this name", id="MWAA"),
        pytest.param({"sources": IAM, "event_names": "createuser"}, "hardly any service has an API action", id="small"),
        pytest.param({"sources": None, "event_names": "createenvironment"}, "'createenvironment'", id="all"),
        pytest.param({"event_names": "createenvironment", "activity": True}, "'createenvironment'", id="activity"),
        pytest.param({"sources": IAM, "event_names": "CREATEUSER"}, "'CREATEUSER'", id="name in capitals"),
        # AWS documents both.
        pytest.param({"sources": "workmailMessageFlow.amazonaws.com"}, "'workmailMessageFlow", id="mixed"),
        pytest.param(
            {"sources": "route53domains.amazonaws.com", "event_names": "updateDomainContact"}, "'upd", id="odd"
        ),
    ],
)
def test_what_may_be_misspelt_is_said_and_stands_as_it_was_written(arguments, said, caplog):
    found = wanted(**arguments).to_text()
    assert said in caplog.text
    assert arguments.get("event_names", "") in found
