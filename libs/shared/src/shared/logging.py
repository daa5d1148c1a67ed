"""Structured logging: one JSON object a line on standard output, no bodies, no secrets, no personal data."""

import logging
import sys

import structlog


def configure(service: str, level: str) -> None:
    """Sets the process's logging. aiokafka's own lines are kept to errors: the loop and the relay report state changes."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        stream=sys.stdout, level=logging.WARNING, format='{"level":"%(levelname)s","logger":"%(name)s","event":"%(message)s"}'
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


log = structlog.get_logger()
