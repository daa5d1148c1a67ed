"""Kafka's record batches, made where events enter the outbox and sent by the relay as they are (docs/adr/0017).

Invariants:
- a batch holds records of one partition, in their order, compressed and complete but for the producer's own numbers;
- a key's partition depends on nothing but the key and the catalogue, which never changes a topic's partitions.

Format: Apache Kafka's record batch, magic 2, which aiokafka writes and reads. It has no public way to send what was built before:
`Ready` stands for its builder once that is filled.
"""

import struct
from collections.abc import Iterable, Iterator
from zlib import crc32

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

BATCH_BYTES = 256 * 1024
"""What the records of a batch may take before they are compressed; one that is larger has a batch of its own."""
SMALL_BYTES = 32 * 1024
"""Batches of less, compressed, are made one: to take a record out and put it in again costs more than its part of a request."""
_MAGIC = 2
_HEADER, _CRC, _AFTER_CRC = DefaultRecordBase.HEADER_STRUCT, DefaultRecordBase.CRC_OFFSET, DefaultRecordBase.ATTRIBUTES_OFFSET
_PRODUCER = slice(9, 12)  # of the header's fields: producer's id, epoch, first sequence
_COUNT = -1

Headers = list[tuple[str, bytes]]
Record = tuple[int, bytes, bytes | None, Headers]
"""Milliseconds since the epoch, key, value (None: a tombstone), headers."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: crc32 and not Kafka's murmur2, which in Python takes longer than all the rest (docs/adr/0007)."""
    return crc32(key) % partitions


class Lane:
    """Batches of one partition in the making: one, unless its records are many. Of a hundred events snappy keeps a fifth.

    A record is written as it comes, while it is in the processor's cache.
    """

    __slots__ = ("_batch", "_built", "_records")

    def __init__(self) -> None:
        self._built: list[bytes] = []
        self._batch: DefaultRecordBatchBuilder | None = None
        self._records = 0

    def add(self, at: int, key: bytes, value: bytes | None, headers: Headers) -> None:
        """Adds a record behind those before."""
        if self._batch is None or self._batch.append(self._records, at, key, value, headers) is None:
            self.built()
            self._batch = _empty()
            self._batch.append(0, at, key, value, headers)
        self._records += 1

    def built(self) -> list[bytes]:
        """All batches."""
        if self._batch is not None:
            self._built.append(bytes(self._batch.build()))
            self._batch, self._records = None, 0
        return self._built


def build(records: Iterable[Record]) -> list[bytes]:
    """Batches of one partition's records, in their order."""
    lane = Lane()
    for record in records:
        lane.add(*record)
    return lane.built()


def together(batches: Iterable[bytes]) -> Iterator[bytes]:
    """The same records in fewer batches: small ones become one, for a partition takes one a request; others stay as they are."""
    small: list[bytes] = []
    for batch in batches:
        if small and sum(map(len, small)) + len(batch) > SMALL_BYTES:
            yield from _joined(small)
            small = []
        small.append(batch)
    yield from _joined(small)


def _joined(batches: list[bytes]) -> list[bytes]:
    return batches if len(batches) == 1 else build(record for batch in batches for record in read(batch))


def _empty() -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(_MAGIC, DefaultRecordBase.CODEC_SNAPPY, 0, -1, -1, 0, BATCH_BYTES)


def read(batch: bytes) -> Iterator[Record]:
    """The records of a batch, in their order."""
    for record in DefaultRecordBatch(batch):
        yield record.timestamp, record.key, record.value, record.headers


def records_in(batch: bytes) -> int:
    """How many records a batch has."""
    return int(_HEADER.unpack_from(batch)[_COUNT])


class Ready(BatchBuilder):  # type: ignore[misc] # aiokafka ships no types
    """A batch that was built before, as aiokafka's producer takes it: nothing can be added, only the producer's numbers are put in."""

    def __init__(self, batch: bytes) -> None:
        self._buffer = bytearray(batch)
        self._relative_offset = records_in(batch)
        self._closed = True

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        fields = list(_HEADER.unpack_from(self._buffer))
        fields[_PRODUCER] = producer_id, producer_epoch, base_sequence
        _HEADER.pack_into(self._buffer, 0, *fields)
        struct.pack_into(">I", self._buffer, _CRC, calc_crc32c(self._buffer[_AFTER_CRC:]))
