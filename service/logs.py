"""One line for every event, as key=value pairs a person and a program can read."""

import logging
import sys
import time


class LineFormatter(logging.Formatter):
    """Writes time, level, logger and message; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        line = (
            f"time={moment}.{int(record.msecs):03d}Z level={record.levelname.lower()}"
            f" logger={record.name} {message}"
        )
        if record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


def configure_logging(level: str, access_log: bool) -> None:
    """Send the service's and the server's logs to standard error.

    level       least severity of the service's own lines; the server's start at warnings
    access_log  whether every request gets a line
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    for name, least in (("infomax", level.upper()), ("uvicorn", "WARNING"), ("asyncio", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False
    logging.getLogger("infomax.access").setLevel("INFO" if access_log else "WARNING")
