"""What clients of botocore raise where an API of AWS refuses, does not answer, or something else answers."""

from __future__ import annotations

from airflow_provider_cloudtrail.trail.s3_errors import is_page, no_answer


def api_errors() -> tuple[type[Exception], ...]:
    """Return what a call can raise; what is no answer of AWS, such as a proxy's page, ends in the last two."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, KeyError


def said_by(error: Exception) -> str:
    """Return the text of one of them."""
    from botocore.exceptions import ClientError, NoRegionError
    from botocore.parsers import ResponseParserError

    if isinstance(error, NoRegionError):
        return "no Region is known; give region_name here, or in the extra of the AWS connection"
    page = isinstance(error, ResponseParserError | KeyError) or (isinstance(error, ClientError) and is_page(error))
    return no_answer(error) if page else str(error)
