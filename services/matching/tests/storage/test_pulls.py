"""Bank files that are fetched: over the simulated bank's counter, and over SFTP; each once, whatever is repeated or lost."""

import io
import json
import zipfile
from pathlib import Path

import asyncssh
import httpx
import msgspec
import pytest
from bankdays import Bank, ahead
from camtfile import camt056, pain002
from handwork import item, limit, post
from lxml import etree
from matching.handlers import files, pulls
from matching.handlers.pulls import pull
from matching.pulling import Download, Sftp, load
from sandbox.app import SandboxSettings, create_app
from shared.db import fetch
from shared.jobs import JobContext
from shared.testing.events import context


@pytest.fixture
def ctx(world, make):
    kept = context(make.NOW)
    return JobContext(world.database, kept.now, kept.offsets, kept.topic_prefix, kept.consumer)


async def paid(world, tenant):
    return [row[0] for row in await world.rows(tenant, "SELECT amount_minor FROM payment ORDER BY amount_minor")]


def statement(camtfile, iban, number, cents):
    amount = f"{cents / 100:.2f}"
    return camtfile.statement(iban, "0.00", amount, camtfile.entry(amount, ref=f"B{number}"), number=number)


async def test_the_banks_counter_is_emptied_and_each_file_taken_once(world, tenant, client, camtfile, ctx):
    held = await world.account(tenant)
    bank = httpx.ASGITransport(app=create_app(SandboxSettings(smtp_port=0)))
    source = Download(tenant_id=tenant, name="bank", url="http://bank.test/bank", order_types=("C53",))
    async with httpx.AsyncClient(transport=bank, base_url="http://bank.test") as counter:
        for number, content in enumerate([statement(camtfile, held.iban, 1, 1_000), b"not a bank file"]):
            answer = await counter.post("/bank/downloads", params={"name": f"f{number}", "order_type": "C53"}, content=content)
            assert answer.status_code == 201
        assert await pull(ctx, tenant, [source], transport=bank) == 2
        assert await paid(world, tenant) == [1_000]
        left = (await counter.get("/bank/downloads", params={"order_type": "C53"})).json()["files"]
        assert [one["name"] for one in left] == ["f1"]  # the unreadable one is not acknowledged
        assert await pull(ctx, tenant, [source], transport=bank) == 0
    items = (await client.get("/v1/pulled-files", params={"outcome": "unreadable"})).json()["items"]
    assert [(one["source"], one["outcome"], bool(one["detail"])) for one in items] == [("bank", "unreadable", True)]
    await world.holds()


@pytest.fixture
async def counter(tenant, ctx):
    """The simulated bank's counter: what is put on it, and what has become of it once it was fetched, by name."""
    bank = httpx.ASGITransport(app=create_app(SandboxSettings(smtp_port=0)))
    source = Download(tenant_id=tenant, name="bank", url="http://bank.test/bank", order_types=("C53", "CRZ"))

    class Counter:
        async def offers(self, name, content, order_type="CRZ"):
            async with httpx.AsyncClient(transport=bank, base_url="http://bank.test") as http:
                answer = await http.post("/bank/downloads", params={"name": name, "order_type": order_type}, content=content)
                assert answer.status_code == 201

        async def left(self):
            async with httpx.AsyncClient(transport=bank, base_url="http://bank.test") as http:
                return sorted(
                    [
                        one["name"]
                        for kind in source.order_types
                        for one in (await http.get("/bank/downloads", params={"order_type": kind})).json()["files"]
                    ]
                )

        async def is_fetched(self):
            return await pull(ctx, tenant, [source], transport=bank)

    return Counter()


async def outcomes(client):
    """Of the files fetched, the oldest first, what became of each, and what a person is told."""
    items = (await client.get("/v1/pulled-files")).json()["items"]
    return [(one["outcome"], one["detail"]) for one in reversed(items)]


def packed(*contents):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as into:
        for number, content in enumerate(contents):
            into.writestr(f"{number}.xml", content)
    return archive.getvalue()


async def test_recalls_and_reports_on_refunds_are_fetched_with_the_statements(world, tenant, make, client, camtfile, counter):
    held = await world.account(tenant)
    await limit(client, tenant, make, 1_000_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001", end_to_end_id="E2E-1")
    await world.match(tenant)
    doubled = await world.pay(held, 700, debtor_name="Dupont", debtor_iban="DE89370400440532013000", number=2)
    assert (await post(client, "/v1/refunds", {"payment_id": str(doubled), "reason": "paid twice"})).json()["status"] == "approved"
    await Bank(world, client, held, camtfile).books((700, {"ref": "B2"}))
    order = {"bank_account_id": str(held.bank_account_id), "execution_date": ahead(1)}
    file_id = (await post(client, "/v1/refund-files", order)).json()["refund_file_id"]
    document = etree.fromstring((await client.get(f"/v1/refund-files/{file_id}")).content)
    refund, message = document.findtext(".//{*}EndToEndId"), document.findtext(".//{*}MsgId")
    await counter.offers("recall", camt056("E2E-1", "10.00"))
    await counter.offers("reports", packed(pain002("SALARIES", ("E-9", "RJCT", "AC04")), pain002(message, (refund, "RJCT", "AC04"))))
    assert await counter.is_fetched() == 2
    assert (await outcomes(client), await counter.left()) == ([("taken", None)] * 2, [])
    assert (await item(world, tenant, "F-1")).open_minor == 1_000
    assert [(one["status"], one["bank_reason"]) for one in (await client.get("/v1/refunds")).json()["items"]] == [("cancelled", "ac04")]
    audit = await world.rows(
        tenant, "SELECT DISTINCT actor, action FROM audit WHERE action IN ('refund.report', 'recall.receive') ORDER BY 2"
    )
    assert [tuple(row) for row in audit] == [("pull:bank", "recall.receive"), ("pull:bank", "refund.report")]
    await world.holds()


async def test_what_of_a_message_is_for_a_person_waits_for_one_and_the_rest_is_taken(world, tenant, client, counter):
    held = await world.account(tenant)
    await world.pay(held, 1_000, end_to_end_id="E2E-1")
    asked = camt056("E2E-1", "10.00")
    both = asked.replace(
        b"</Undrlyg>", asked[asked.index(b"<TxInf>") : asked.index(b"</Undrlyg>")].replace(b"E2E-1", b"E2E-2") + b"</Undrlyg>"
    )
    await counter.offers("recalls", both)
    await counter.offers("order", b"<Document><CstmrCdtTrfInitn/></Document>")
    await counter.offers("mixed", packed(asked, b"<Document><BkToCstmrStmt/></Document>"))
    assert await counter.is_fetched() == 3
    assert await outcomes(client) == [
        ("unreadable", "recalls that name no payment, or several: number 2"),
        ("unreadable", "pain.001 is a credit transfer order, not a statement"),
        ("unreadable", "messages that are no statements, and among them one (camt): each is to come by itself"),
    ]
    assert [one["status"] for one in (await client.get("/v1/recalls")).json()["items"]] == ["open"]
    assert await counter.left() == ["mixed", "order", "recalls"]
    await world.holds()


async def test_a_file_that_waits_for_a_person_is_fetched_again_when_he_says_so(world, tenant, client, camtfile, counter):
    await counter.offers("early", statement(camtfile, "FR7630006000011234567890189", 1, 900), "C53")
    assert await counter.is_fetched() == 1
    assert await outcomes(client) == [("unreadable", "account-unknown")]
    name = (await client.get("/v1/pulled-files")).json()["items"][0]["name"]
    await world.account(tenant, iban="FR7630006000011234567890189")
    assert await counter.is_fetched() == 0
    answer = await post(client, "/v1/pulled-files/again", {"source": "bank", "name": name})
    assert (answer.status_code, answer.json()["name"]) == (202, name)
    assert await counter.is_fetched() == 1
    assert (await outcomes(client), await counter.left(), await paid(world, tenant)) == ([("taken", None)], [], [900])
    for wrong in ({"source": "bank", "name": name}, {"source": "bank", "name": "other"}):  # it is taken; there is none
        assert (await post(client, "/v1/pulled-files/again", wrong)).status_code == 404


async def test_a_file_that_a_source_does_not_give_holds_up_no_other(world, tenant, client, camtfile, ctx):
    held = await world.account(tenant)
    contents = {f"{number}": statement(camtfile, held.iban, number, 100 * number) for number in (1, 2, 3)}
    refused = {("GET", "/bank/downloads/1"), ("POST", "/bank/downloads/2/receipt")}
    receipts = []

    def answer(request):
        path, method = request.url.path, request.method
        if (method, path) in refused:
            return httpx.Response(500)
        if path == "/bank/downloads":
            return httpx.Response(200, json={"files": [{"id": name} for name in contents if name not in receipts]})
        if method == "POST":
            receipts.append(path.split("/")[3])
            return httpx.Response(204)
        return httpx.Response(200, content=contents[path.rpartition("/")[2]])

    source = Download(tenant_id=tenant, name="bank", url="http://bank.test/bank", order_types=("C53",))
    assert await pull(ctx, tenant, [source], transport=httpx.MockTransport(answer)) == 2
    assert (await paid(world, tenant), receipts) == ([200, 300], ["3"])
    refused.clear()
    assert await pull(ctx, tenant, [source], transport=httpx.MockTransport(answer)) == 1
    assert (await paid(world, tenant), receipts) == ([100, 200, 300], ["3", "1", "2"])


@pytest.mark.parametrize("hostile", ["a\0b", "a\nb", "x" * 5_000, "é" * 1_000, "..", ".", "", "\ud800", "a\u202eb"])
async def test_a_name_that_no_file_can_be_known_by_holds_up_no_other(world, tenant, client, camtfile, ctx, hostile):
    held = await world.account(tenant)
    asked = []

    def answer(request):
        asked.append(request.url.path)
        if request.url.path == "/bank/downloads":
            return httpx.Response(200, content=json.dumps({"files": [{"id": name} for name in (hostile, "C53/1 été.xml")]}))
        return httpx.Response(200, content=statement(camtfile, held.iban, 1, 100))

    source = Download(tenant_id=tenant, name="bank", url="http://bank.test/bank", order_types=("C53",))
    assert await pull(ctx, tenant, [source], transport=httpx.MockTransport(answer)) == 1
    assert await paid(world, tenant) == [100]
    assert [one["name"] for one in (await client.get("/v1/pulled-files")).json()["items"]] == ["C53/1 été.xml"]
    assert set(asked) == {"/bank/downloads", "/bank/downloads/C53/1 été.xml", "/bank/downloads/C53/1 été.xml/receipt"}


@pytest.mark.parametrize("listed", [[], None, {"files": 7}, {"files": [7]}, {"files": [{}]}, {}])
async def test_a_counter_that_answers_with_something_else_holds_up_no_other(world, tenant, camtfile, ctx, listed):
    held = await world.account(tenant)

    def answer(request):
        if request.url.host == "odd.test":
            return httpx.Response(200, json=listed)
        if request.url.path == "/bank/downloads":
            return httpx.Response(200, json={"files": [{"id": "1"}]})
        return httpx.Response(200, content=statement(camtfile, held.iban, 1, 100))

    sources = [Download(tenant_id=tenant, name=name, url=f"http://{name}.test/bank", order_types=("C53",)) for name in ("odd", "bank")]
    assert await pull(ctx, tenant, sources, transport=httpx.MockTransport(answer)) == 1
    assert await paid(world, tenant) == [100]


async def test_a_file_on_which_we_fail_waits_for_a_person_and_holds_up_no_other(world, tenant, client, camtfile, ctx, monkeypatch):
    held = await world.account(tenant)

    async def take_file(conn, tenant_id, file, *args, **more):
        if file.getvalue() == b"odd":
            await fetch(conn, "SELECT 1 / 0")
        return await files.take_file(conn, tenant_id, file, *args, **more)

    monkeypatch.setattr(pulls, "take_file", take_file)

    def answer(request):
        if request.url.path == "/bank/downloads":
            return httpx.Response(200, json={"files": [{"id": "1"}, {"id": "2"}]})
        return httpx.Response(200, content=b"odd" if request.url.path.endswith("/1") else statement(camtfile, held.iban, 1, 100))

    source = Download(tenant_id=tenant, name="bank", url="http://bank.test/bank", order_types=("C53",))
    assert await pull(ctx, tenant, [source], transport=httpx.MockTransport(answer)) == 2
    assert (await paid(world, tenant), await outcomes(client)) == ([100], [("unreadable", "Error 22012"), ("taken", None)])


async def test_a_source_that_does_not_answer_holds_up_no_other(world, tenant, camtfile, ctx, tmp_path):
    held = await world.account(tenant)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "inbox" / "s1.xml").write_bytes(statement(camtfile, held.iban, 1, 700))
    (tmp_path / "inbox" / "s2.xml.part").write_bytes(b"half a")
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user_key.write_private_key(tmp_path / "key")
    user_key.write_public_key(tmp_path / "authorized")

    def root(channel):
        return asyncssh.SFTPServer(channel, chroot=str(tmp_path))

    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=str(tmp_path / "authorized"), sftp_factory=root
    )
    async with server:
        port = server.get_port()
        hosts = tmp_path / "hosts"
        hosts.write_text(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
        folder = Sftp(
            tenant_id=tenant,
            name="sftp",
            host="127.0.0.1",
            port=port,
            username="encours",
            known_hosts_file=hosts,
            key_file=tmp_path / "key",
            folder="inbox",
            done="done",
        )
        dead = Download(tenant_id=tenant, name="dead", url="http://127.0.0.1:9/nobody")
        stranger = Sftp(**{**msgspec.structs.asdict(folder), "name": "stranger", "known_hosts_file": tmp_path / "authorized"})
        assert await pull(ctx, tenant, [dead, stranger, folder]) == 1
        assert await paid(world, tenant) == [700]
        assert sorted(one.name for one in (tmp_path / "done").iterdir()) == ["s1.xml"]
        assert await pull(ctx, tenant, [folder]) == 0
    await world.holds()


def test_sources_are_read_strictly(tmp_path, tenant):
    path = tmp_path / "sources.json"
    one = {"kind": "download", "tenant_id": str(tenant), "name": "bank", "url": "http://bank.test"}
    path.write_bytes(msgspec.json.encode([one]))
    assert load(path) == [Download(tenant_id=tenant, name="bank", url="http://bank.test")]
    for wrong in ([one, one], [{**one, "password": "x"}], [{**one, "kind": "ftp"}]):
        path.write_bytes(msgspec.json.encode(wrong))
        with pytest.raises(ValueError, match=r"."):
            load(path)


def test_sources_name_their_secrets_files(tmp_path, tenant):
    """What the how-to shows: a path is text in JSON, and no source with one could be read."""
    path = tmp_path / "sources.json"
    counter = {"kind": "download", "tenant_id": str(tenant), "name": "bank", "url": "http://bank.test", "token_file": "/run/secrets/token"}
    folder = {"kind": "sftp", "tenant_id": str(tenant), "name": "sftp", "host": "sftp.test", "username": "encours"}
    folder |= {"known_hosts_file": "/run/secrets/hosts", "key_file": "/run/secrets/key", "password_file": None}
    path.write_text(json.dumps([counter, folder]))
    assert load(path) == [
        Download(tenant_id=tenant, name="bank", url="http://bank.test", token_file=Path("/run/secrets/token")),
        Sftp(
            tenant_id=tenant,
            name="sftp",
            host="sftp.test",
            username="encours",
            known_hosts_file=Path("/run/secrets/hosts"),
            key_file=Path("/run/secrets/key"),
        ),
    ]
    path.write_text(json.dumps([counter | {"token_file": 7}]))
    with pytest.raises(ValueError, match="token_file"):
        load(path)
