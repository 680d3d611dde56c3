"""Logs on standard error: sentences for people, or one JSON object a line for machines."""

import logging
from datetime import UTC, datetime
from typing import Literal

import orjson

LogFormat = Literal["human", "json"]


def configure(log_format: LogFormat, process: str) -> None:
    """Send what this process logs, from INFO on, to standard error; `process` says which one it is."""
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter(process))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {process} %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


class JsonFormatter(logging.Formatter):
    """Writes a record as an object of time (RFC 3339), process, level, logger, message and, if any, error."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "process": self._process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()
