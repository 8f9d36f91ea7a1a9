"""The image's HEALTHCHECK: exits with 0 where the process of this container answers 200, with 1 where it does not.

    python health.py [PATH]        PATH: /health/live by default; /health tells whether it is ready, too

Which port is asked depends on what runs as process 1: AUDIT_WEB_PORT for the audit sink, WEB_PORT for the others.
"""

import http.client
import os
import sys
from pathlib import Path

TIMEOUT_S = 4.0
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  compared, not listened at


def port(command: bytes, environment: dict[str, str]) -> int:
    """Where the process with this command line serves HTTP."""
    if b"fraudstream.agents.audit" in command:
        return int(environment.get("AUDIT_WEB_PORT") or 8001)
    return int(environment.get("WEB_PORT") or 8000)


def main(arguments: list[str]) -> int:
    """Asks once; prints what is wrong, for `docker inspect`."""
    path = arguments[0] if arguments else "/health/live"
    environment = dict(os.environ)
    host = environment.get("WEB_HOST", "")
    asked = "127.0.0.1" if host in EVERY_ADDRESS else host
    connection = http.client.HTTPConnection(
        asked, port(Path("/proc/1/cmdline").read_bytes(), environment), timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == http.HTTPStatus.OK:
            return 0
        print(f"{path}: {answer.status} {answer.read(500).decode(errors='replace')}")
    except (OSError, http.client.HTTPException) as error:
        print(f"{path} on {asked}:{connection.port}: {error!r}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
