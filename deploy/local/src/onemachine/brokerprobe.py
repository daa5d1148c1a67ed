"""Asks a broker which brokers of its cluster take part: one DescribeCluster request, nothing else.

A broker listens before it can serve; only the cluster's own answer tells that it can. The Java tools that ask take seconds to start, and
the Kafka client belongs to the services' library, which this package must not need.
"""

import socket
import struct

from onemachine.ports import HOST

_DESCRIBE_CLUSTER = 60
_CORRELATION = 1


def live_brokers(port: int, timeout: float = 2.0) -> set[int]:
    """The ids of the unfenced brokers as the broker at `port` sees them; empty while it cannot say."""
    # request header v2: key, version 0, correlation, no client id, no tags; body: no authorised operations, no tags
    request = struct.pack(">hhihBBB", _DESCRIBE_CLUSTER, 0, _CORRELATION, -1, 0, 0, 0)
    try:
        with socket.create_connection((HOST, port), timeout) as broker, broker.makefile("rb") as answers:
            broker.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", answers.read(4))
            return _parse(_Reader(answers.read(size)))
    except (OSError, struct.error, IndexError):  # refused, reset, or cut off: it starts or ends
        return set()


def _parse(reader: "_Reader") -> set[int]:
    """The answer: header v1 (correlation, tags), then the fields of DescribeCluster version 0 up to the brokers."""
    correlation, _tags, _throttle, error = reader.take(">iBih")
    reader.text()  # error message
    reader.text()  # cluster id
    (_controller,) = reader.take(">i")
    if correlation != _CORRELATION or error:
        return set()
    found = set()
    for _ in range(reader.varint() - 1):
        (broker_id,) = reader.take(">i")
        reader.text()  # host
        reader.take(">i")  # port
        reader.text()  # rack
        reader.take("B")  # tags
        found.add(broker_id)
    return found


class _Reader:
    """Kafka's flexible encoding: fixed integers, and compact strings whose length is written plus one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value
            shift += 7

    def text(self) -> None:
        length = max(0, self.varint() - 1)  # 0 is null
        self._at += length
