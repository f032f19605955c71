"""Run as a program: moto's APIs, first of all S3, that remember which requests they were sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

RECORDED = "/-requests-"


class Counting:
    """WSGI application in front of another that answers ``GET /-requests-`` itself; ``DELETE`` forgets them."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._requests: list[list[str]] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        with self._lock:
            if path != RECORDED:
                self._requests.append([method, path.encode("latin-1").decode(), query])
            else:
                body = json.dumps(self._requests).encode()
                if method == "DELETE":
                    self._requests.clear()
                start_response("200 OK", [("Content-Type", "application/json")])
                return [body]
        return self._application(environ, start_response)


def refuse_old_versions() -> None:
    """Have Glue refuse the update of a table that is not in the version that the request names: moto lets it pass."""
    from moto.glue.exceptions import GlueClientError
    from moto.glue.responses import GlueResponse

    update_table: Callable[[Any], Any] = GlueResponse.update_table
    one_at_a_time = threading.Lock()

    def update_if_unchanged(response: Any) -> Any:
        asked = response.parameters
        with one_at_a_time:
            table = response.glue_backend.get_table(asked["DatabaseName"], asked["TableInput"]["Name"])
            if asked.get("VersionId", table.as_dict()["VersionId"]) != table.as_dict()["VersionId"]:
                raise GlueClientError("ConcurrentModificationException", "Update table failed due to concurrent use")
            return update_table(response)

    GlueResponse.update_table = update_if_unchanged  # type: ignore[method-assign]


def main() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    refuse_old_versions()
    application = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
