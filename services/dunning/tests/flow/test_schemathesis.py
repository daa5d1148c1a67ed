"""Every operation of the OpenAPI document: no 5xx, and no answer that the document does not allow."""

from dunning.cli import SERVICE
from shared.testing.fuzzing import fuzz_alone


async def test_no_answer_breaks_the_document(infrastructure, tmp_path):
    answers = await fuzz_alone(SERVICE, infrastructure, tmp_path, examples=6)
    assert {status for _, status in answers} >= {200, 422}
