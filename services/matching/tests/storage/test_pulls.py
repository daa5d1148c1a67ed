"""Bank files that are fetched: over the simulated bank's counter, and over SFTP; each once, whatever is repeated or lost."""

import asyncssh
import httpx
import msgspec
import pytest
from matching.handlers.pulls import pull
from matching.pulling import Download, Sftp, load
from sandbox.app import SandboxSettings, create_app
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
