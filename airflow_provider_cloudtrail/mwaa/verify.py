"""What the Airflow of an environment says about DAGs, import errors and the list of providers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_cloudtrail.mwaa.aws import Aws, asked, code_of
from airflow_provider_cloudtrail.mwaa.bundle import DAG_FOLDER, DISTRIBUTION, PACKAGE, WHEEL
from airflow_provider_cloudtrail.mwaa.errors import MwaaError

_PAGE = 100
_NAMES_PACKAGE = re.compile(rf"(?<!\w){PACKAGE}(?!\w)")


@dataclass(frozen=True)
class Verified:
    """
    What was found.

    :param dags: by id, ``active``, ``paused`` or ``missing``.
    :param import_errors: by file, those that concern this package or its DAGs.
    :param other_import_errors: how many more there are.
    :param provider: version of the provider that is listed; None: it is not.
    :param problems: what is not as it must be.
    """

    dags: dict[str, str]
    import_errors: dict[str, str]
    other_import_errors: int
    provider: str | None
    problems: tuple[str, ...]


def verify(aws: Aws, name: str, *, mode: str, dag_ids: Sequence[str], files: Collection[str]) -> Verified:
    """
    Ask the REST API of an environment's Airflow (``airflow:InvokeRestApi``).

    :param name: of the environment.
    :param mode: that was deployed.
    :param dag_ids: DAGs that must be there.
    :param files: that were deployed, named from the DAG folder on.
    :raises MwaaError: if the API does not answer.
    """
    api = _RestApi(aws, name)
    dags = {dag_id: api.dag_state(dag_id) for dag_id in dag_ids}
    errors = api.pages("/importErrors", "import_errors")
    ours = {
        error["filename"]: _last_line(error.get("stack_trace") or "")
        for error in errors
        if _is_ours(error["filename"], files) or _NAMES_PACKAGE.search(error.get("stack_trace") or "")
    }
    providers = {entry["package_name"]: entry["version"] for entry in api.pages("/providers", "providers")}
    listed = providers.get(DISTRIBUTION)
    problems = [f"DAG {dag_id} is not there" for dag_id, state in dags.items() if state == "missing"]
    problems += [f"{filename} cannot be imported: {cause}" for filename, cause in ours.items()]
    if mode == WHEEL and listed is None:
        problems.append(
            f"provider {DISTRIBUTION} is not listed: pip could not install requirements.txt, see the log stream "
            "requirements_install_ip of the scheduler's log group"
        )
    return Verified(dags, ours, len(errors) - len(ours), listed, tuple(problems))


class _RestApi:
    """Airflow's REST API behind InvokeRestApi, which knows whether it is version 1 or 2."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._client = aws.client("mwaa")
        self._name = name

    def dag_state(self, dag_id: str) -> str:
        answer = self._get(f"/dags/{dag_id}", {})
        if answer is None:
            return "missing"
        return "paused" if answer.get("is_paused") else "active"

    def pages(self, path: str, member: str) -> list[dict[str, Any]]:
        """Return all entries of a collection."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self._get(path, {"limit": _PAGE, "offset": len(found)})
            if answer is None:
                raise MwaaError(f"the Airflow REST API of {self._name} knows no {path}")
            found += answer[member]
            if not answer[member] or len(found) >= answer.get("total_entries", 0):
                return found

    def _get(self, path: str, query: dict[str, Any]) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        with asked("airflow:InvokeRestApi", f"the Airflow role of environment {self._name}"):
            try:
                answer = self._client.invoke_rest_api(Name=self._name, Path=path, Method="GET", QueryParameters=query)
            except ClientError as error:
                if code_of(error) != "RestApiClientException":
                    raise
                if error.response.get("RestApiStatusCode") == 404:
                    return None
                raise MwaaError(
                    f"the Airflow REST API of {self._name} answers {error.response.get('RestApiStatusCode')} to GET "
                    f"{path}: the Airflow role that airflow:InvokeRestApi is allowed for must read DAGs, import errors "
                    "and providers (Viewer and Op)"
                ) from None
        response: dict[str, Any] = answer["RestApiResponse"]
        return response


def _is_ours(filename: str, files: Collection[str]) -> bool:
    # Airflow 2 gives the whole path, Airflow 3 what is below the DAG folder.
    name = filename.removeprefix(f"{DAG_FOLDER}/")
    return name in files or name.startswith(f"{PACKAGE}/")


def _last_line(trace: str) -> str:
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is given"
