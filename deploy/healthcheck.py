"""Ask the service in this container whether it is ready; exit 0 if it is, 1 if not.

Standard library only, run by the container as `python3 -I -S healthcheck.py [URL]`, so that it
starts in milliseconds and works when the virtual environment does not.
"""

import http.client
import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0  # below the HEALTHCHECK's own five seconds, so that the reason is printed


def default_url() -> str:
    """The readiness route on the port the service was told to use."""
    return f"http://127.0.0.1:{os.environ.get('INFOMAX_PORT') or '8000'}/readyz"


def check(url: str) -> str | None:
    """What is wrong at this address, in words, or None if it answers 200."""
    # An opener without proxies: HTTP_PROXY must not send a question about this container outside.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"


def main(arguments: list[str]) -> int:
    """Print the answer in one line, which `docker inspect` shows, and return the exit status."""
    problem = check(arguments[0] if arguments else default_url())
    print(problem or "ready")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
