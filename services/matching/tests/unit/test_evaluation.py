"""The evaluation: its protocol, what is learnt, and what the certificate proves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matching.evaluation.certificate import certify, upper_limit
from matching.evaluation.history import HistoryError, read_history
from matching.evaluation.report import evaluate


def write(folder: Path, **files: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def history(folder: Path, count: int = 120) -> Path:
    """A customer pays an invoice a day, by its number; every tenth names nothing and is for something else."""
    customers = [{"id": "C1", "number": "10001", "name": "Dupont SARL", "country": "FR", "currency": "EUR", "ibans": ["FR76A"]}]
    invoices, payments, truth = [], [], []
    for at in range(count):
        day = f"2026-{1 + at // 28:02}-{1 + at % 28:02}"
        number, amount, odd = f"FA2026-{at:05}", 10_000 + 71 * at, at % 10 == 9
        invoices.append(
            {"id": f"I{at}", "number": number, "order_no": None, "type": "invoice", "customer_id": "C1", "issue_date": day, "due_date": day,
             "amount_cents": amount, "currency": "EUR", "structured_ref": None, "discount_pct": 0, "discount_until": None}
        )  # fmt: skip
        payments.append(
            {"id": f"P{at}", "booking_date": day, "amount_cents": amount, "currency": "EUR", "debtor_iban": "FR76A",
             "remittance": [] if odd else [number], "split": "train" if at < count * 0.4 else "test"}
        )  # fmt: skip
        lines = [] if odd else [{"invoice_id": f"I{at}", "cents": amount, "diff_cents": 0, "reason": None}]
        truth.append({"payment_id": f"P{at}", "kind": "odd" if odd else "single", "customer_id": "C1", "allocations": lines,
                      "unapplied_cents": amount if odd else 0, "no_reference": odd})  # fmt: skip
    return write(folder, customers=customers, invoices=invoices, payments=payments, truth=truth)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "matching", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_one_object_comes_of_it_and_each_decision_is_the_same_twice(tmp_path):
    folder = history(tmp_path / "set")
    answers = []
    for at in range(2):
        with (tmp_path / f"out{at}").open("w") as out:
            answer = json.loads(json.dumps(evaluate(folder, out)))
        answers.append(
            {name: answer[name] for name in ("payments", "auto", "auto_correct", "auto_wrong", "review", "unmatched", "certificate")}
        )
        assert answer["auto"] + answer["review"] + answer["unmatched"] == answer["payments"] == 72
        assert answer["auto_wrong"] == 0
        assert answer["by_kind"]["odd"]["auto"] == 0
    assert answers[0] == answers[1]
    assert (tmp_path / "out0").read_text() == (tmp_path / "out1").read_text()
    first = json.loads((tmp_path / "out0").read_text().splitlines()[0])
    assert first["candidates"][0]["allocations"] == [{"invoice_id": "I48", "cents": 13408, "diff_cents": 0, "reason": None}]
    assert first["candidates"][0]["evidence"]["named_share"] == 1


def test_a_decision_is_told_with_all_of_its_items(tmp_path):
    folder = history(tmp_path / "set", 60)
    invoices = [json.loads(line) for line in (folder / "invoices.jsonl").read_text().splitlines()]
    total = sum(one["amount_cents"] for one in invoices)
    payment = {"id": "P", "booking_date": "2026-04-01", "amount_cents": total, "currency": "EUR", "debtor_iban": "FR76A",
               "remittance": [" ".join(one["number"] for one in invoices)], "split": "test"}  # fmt: skip
    lines = [{"invoice_id": one["id"], "cents": one["amount_cents"], "diff_cents": 0, "reason": None} for one in invoices]
    truth = {"payment_id": "P", "kind": "bulk", "customer_id": "C1", "allocations": lines, "unapplied_cents": 0, "no_reference": False}
    write(folder, payments=[payment], truth=[truth])
    with (tmp_path / "out").open("w") as out:
        evaluate(folder, out)
    told = json.loads((tmp_path / "out").read_text())
    assert len(told["candidates"][0]["allocations"]) == len(told["allocations"]) == 60


def test_a_missing_file_and_a_malformed_line_are_named(tmp_path):
    folder = history(tmp_path / "set")
    with (folder / "payments.jsonl").open("a") as file:
        file.write('{"id": "P999", "booking_date": "2026-02-30"}\n')
    done = run("evaluate", folder)
    assert done.returncode == 1
    assert "payments.jsonl, line 121" in done.stderr
    folder = history(tmp_path / "other")
    (folder / "truth.jsonl").unlink()
    assert "neither truth.jsonl nor truth.jsonl.gz" in run("evaluate", folder).stderr
    assert run("evaluate", tmp_path / "nowhere").returncode == 1


@pytest.mark.parametrize(
    ("field", "value"), [("amount_cents", 10.5), ("amount_cents", 0), ("amount_cents", "100"), ("remittance", "x"), ("split", "half")]
)
def test_bad_values_are_refused_with_their_line(tmp_path, field, value):
    folder = history(tmp_path / "set", 3)
    rows = [json.loads(line) for line in (folder / "payments.jsonl").read_text().splitlines()]
    rows[1][field] = value
    write(folder, payments=rows)
    with pytest.raises(HistoryError, match=r"payments\.jsonl, line 2"):
        read_history(folder)


def test_the_limit_is_that_of_clopper_and_pearson():
    # 0 errors in n: 1 - 0.05 ** (1 / n); 1 in 100 and 3 in 1000: tables of the one-sided 95 % limit
    assert upper_limit(0, 3_000) == pytest.approx(1 - 0.05 ** (1 / 3_000), rel=1e-6)
    assert upper_limit(1, 100) == pytest.approx(0.04656, abs=5e-5)
    assert upper_limit(3, 1_000) == pytest.approx(0.00774, abs=5e-5)
    assert upper_limit(0, 0) == 1.0


def test_a_threshold_is_certified_only_as_far_as_it_is_proven():
    clean = [(1 - at / 100_000, True) for at in range(9_000)]
    sure = certify(clean, 10_000)
    assert sure.certified
    assert sure.upper_limit <= sure.bound
    worse = certify([(score, at < 7_000) for at, (score, _) in enumerate(clean)], 10_000)
    assert worse.certified
    assert worse.threshold > clean[7_200][0]
    doubtful = certify([(score - 0.08, True) for score, _ in clean], 10_000)
    assert doubtful.automatic < sure.automatic
    assert doubtful.threshold >= 0.85  # not proven on the whole at the cost of the last
    few = certify(clean[:500], 600)
    assert not few.certified
    assert few.upper_limit > few.bound


def test_one_error_in_a_small_sample_takes_little_and_many_take_all():
    """What was right before counts for a sample that proves nothing; what it disproves it disproves."""
    scores = [(1 - at / 100_000, True) for at in range(900)]
    one = certify([(score, at != 40) for at, (score, _) in enumerate(scores)], 1_000)
    assert (one.automatic, one.threshold, one.certified) == (900, 0.85, False)
    assert "counted in" in one.procedure
    many = certify([(score, at % 20 > 0) for at, (score, _) in enumerate(scores)], 1_000)
    assert many.automatic < 60
    assert certify([], 0).threshold == 0.85
    assert certify([(0.99, False)] * 9, 9).threshold == 1.0


def test_two_errors_of_thousands_do_not_end_the_sequence():
    scores = [(1 - at / 100_000, at not in {300, 4_000}) for at in range(6_663)]
    certificate = certify(scores, 8_000)
    assert certificate.automatic == 6_663
    assert not certificate.certified  # not on the sample alone


def test_all_of_one_score_are_in_or_out():
    scores = [(0.99, True)] * 500 + [(0.98, at % 10 > 0) for at in range(500)]
    certificate = certify(scores, 1_000)
    assert (certificate.automatic, certificate.wrong, certificate.threshold) == (500, 0, 0.99)


def test_too_few_payments_are_judged_by_the_shipped_model(tmp_path):
    """Also none at all: a new seller's first payments."""
    from matching.evaluation.report import fitted  # noqa: PLC0415 - scikit-learn is slow to load

    folder = history(tmp_path / "set")
    rows = [{**json.loads(line), "split": "test"} for line in (folder / "payments.jsonl").read_text().splitlines()]
    write(folder, payments=rows)
    named = evaluate(folder)["by_kind"]["single"]
    assert (named["payments"], named["auto"], named["auto_wrong"]) == (108, 108, 0)
    with pytest.raises(HistoryError, match="120 payments are too few"):
        fitted([folder])


def test_what_other_writers_leave_out_or_leave_empty_is_read(tmp_path):
    folder = history(tmp_path / "set", 6)
    first = read_history(folder)

    def rewrite(name, change, **out):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8-sig").splitlines()]
        text = "".join(json.dumps(change(row)) + "\r\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("\ufeff" + text, encoding="utf-8")

    rewrite("customers", lambda row: {**row, "ibans": ["fr76 a", ""], "viban": "", "parent": "", "new": {}})
    rewrite(
        "invoices", lambda row: {name: row[name] for name in row if row[name] is not None} | {"discount_until": "", "structured_ref": ""}
    )
    rewrite("payments", lambda row: row | {"remittance": row["remittance"] or None, "creditor_account": "", "instructed_amount": None})
    assert read_history(folder) == first
    rewrite("invoices", lambda row: row | {"due_date": None})
    assert [one.due_date for one in read_history(folder).invoices] == [one.issue_date for one in first.invoices]
    rows = [json.loads(line) for line in (folder / "payments.jsonl").read_text(encoding="utf-8-sig").splitlines()]
    write(folder, payments=rows[::-1])
    assert [one.payment_id for one in read_history(folder).payments] == [one.payment_id for one in first.payments]
    write(folder, payments=[*rows, rows[2]])
    with pytest.raises(HistoryError, match=r"payments\.jsonl, line 7: a second line about P2"):
        read_history(folder)


def test_the_model_in_plain_python_is_the_one_that_was_learnt(tmp_path):
    import numpy as np  # noqa: PLC0415 - only this test looks behind the model
    from matching.domain.engine.confidence import Model, ModelError  # noqa: PLC0415
    from matching.evaluation.learning import fit, learner  # noqa: PLC0415
    from matching.evaluation.protocol import cases  # noqa: PLC0415

    every = list(cases(read_history(history(tmp_path / "set"))))
    rows = [one.features for case in every for one in case.found.hypotheses]
    right = [one for case in every for one in case.right]
    model = Model.from_dict(json.loads(json.dumps(fit(every, "set").as_dict())))
    theirs = learner().fit(np.array(rows), np.array(right)).predict_proba(np.array(rows))[:, 1]
    assert np.allclose([model.probability(row) for row in rows], theirs, atol=1e-4)
    steps = model.explained(rows[0])
    assert sum(steps.values()) != 0
    with pytest.raises(ModelError, match="learn it again"):
        Model.from_dict({"evidence": ["something"], "trees": []})


def test_tables_of_pairs_become_a_history(tmp_path):
    from matching.evaluation.pairs import read_pairs  # noqa: PLC0415 - only this test reads tables

    (tmp_path / "t_invoices.csv").write_text(
        "invoice_id,Assignment Number,Billing Number,Customer ID,Customer Name,Currency Code,Amount,Document Date,Due Date\n"
        "0,INV100000000011268,4570986529,C1,Dupont SARL,EUR,100.10,20260105,20260205\n"
        "1,INV100000000025749,1972953315,C1,Dupont SARL,EUR,50.00,20260105,20260205\n"
    )
    (tmp_path / "t_payments.csv").write_text(
        "payment_id,Business Partner,Account Number,Memo Line,Amount,Currency,Posting Date\n"
        "0,DUPONT,FR76A,REF 0: 4570986529REF 1: 1972953315,150.09999999999998,EUR,20260201\n"
    )
    (tmp_path / "t_matches.csv").write_text('match_id,match_category,invoice_ids,payment_ids\n0,one_pay_multi_inv,"[0, 1]",[0]\n')
    found = read_pairs(tmp_path, "t")
    assert found.payments[0].amount_minor == 15_010
    assert found.payments[0].remittance == ["REF 0: 4570986529 REF 1: 1972953315"]
    assert [line.cents for line in found.truth["0"].lines] == [10_010, 5_000]
    (tmp_path / "t_payments.csv").write_text("payment_id,Account Number\n0,x\n")
    with pytest.raises(HistoryError, match=r"t_payments\.csv, line 2"):
        read_pairs(tmp_path, "t")
