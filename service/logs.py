"""One line for every event, as key=value pairs a person and a program can read."""

import logging
import sys
import time


class LineFormatter(logging.Formatter):
    """time level logger message; a traceback follows on lines of its own, indented."""

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
    """Send all logs to standard error; the lines for requests only if they are wanted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("infomax").setLevel(level.upper())
    logging.getLogger("infomax.access").setLevel(logging.INFO if access_log else logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
