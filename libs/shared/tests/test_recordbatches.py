from aiokafka.record.default_records import DefaultRecordBatch  # noqa: TID251 - what any client reads
from hypothesis import given
from hypothesis import strategies as st
from shared.recordbatches import BATCH_BYTES, SMALL_BYTES, Ready, build, partition_of, read, records_in, together

records = st.lists(
    st.tuples(
        st.integers(0, 2**41),
        st.binary(min_size=1, max_size=80),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(min_size=1, max_size=12), st.binary(max_size=40)), max_size=14),
    ),
    min_size=1,
    max_size=40,
)


@given(st.lists(records, min_size=1, max_size=6))
def test_small_batches_become_one_with_all_records_in_their_order(written: list) -> None:
    batches = [batch for some in written for batch in build(some)]
    assert [record for batch in batches for record in read(batch)] == [record for some in written for record in some]
    (one,) = together(batches)
    assert list(read(one)) == [record for some in written for record in some]
    assert records_in(one) == sum(map(len, written))


def test_large_batches_stay_as_they_are_and_many_small_ones_are_not_too_large() -> None:
    noise = bytes(range(256)) * 16
    large = build([(0, b"k", bytes(byte ^ turn for byte in noise), []) for turn in range(100)])
    assert list(together(large * 2)) == large * 2
    small = [build([(0, b"k", f"{number}".encode() * 500, [])])[0] for number in range(2_000)]
    fewer = list(together(small))
    assert 1 < len(fewer) < 100
    assert max(map(len, fewer)) <= BATCH_BYTES
    assert [record for batch in fewer for record in read(batch)] == [record for batch in small for record in read(batch)]
    assert max(map(len, small)) < SMALL_BYTES


@given(records, st.integers(0, 2**62), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1))
def test_the_producers_numbers_are_put_in_and_nothing_else_changes(written: list, producer: int, epoch: int, sequence: int) -> None:
    (batch,) = build(written)
    ready = Ready(batch)
    ready._set_producer_state(producer, epoch, sequence)
    sent = DefaultRecordBatch(bytes(ready._build()))
    assert sent.validate_crc()
    assert (sent.producer_id, sent.producer_epoch, sent.base_sequence) == (producer, epoch, sequence)
    assert list(read(bytes(ready._build()))) == written
    assert (ready.record_count(), ready.size(), ready.closed()) == (len(written), len(batch), True)
    assert ready.append(timestamp=0, key=b"k", value=b"v") is None


def test_a_keys_partition_is_its_checksums() -> None:
    """The check value of CRC-32/ISO-HDLC: what wrote a topic before goes on writing a key to the same partition."""
    assert [partition_of(b"123456789", partitions) for partitions in (1, 6, 12)] == [0, 0xCBF43926 % 6, 0xCBF43926 % 12]
