"""A real Apache Kafka cluster in KRaft mode on this machine: one broker, or three that survive the loss of one.

Each broker is a controller as well. Invariants: a broker's folder is formatted once and only once; ports and cluster id are kept in the
data folder, so that clients find a restarted broker where it was; a cluster is started as a whole, and each broker can be killed and
started again alone.
"""

import functools
import shutil
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from pathlib import Path

from onemachine.brokerprobe import live_brokers
from onemachine.java import Java, kafka_java
from onemachine.ports import HOST, Ports
from onemachine.processes import EndedError, Process

_REPLICATED = 3  # from this many brokers on, everything is kept three times and acknowledged by two


class Kafka:
    """A cluster of `brokers` (ids from 1) in `root`/kafka, each with a heap of at most `heap_mb` MiB."""

    def __init__(self, root: Path, *, brokers: int = 1, heap_mb: int = 512, java: Java | None = None) -> None:
        self.root = root.resolve()
        self.folder = self.root / "kafka"
        self.ids = list(range(1, brokers + 1))
        self.heap_mb = heap_mb
        self._given_java = java
        self._ports = Ports(self.root / "ports.json")
        self.processes = {broker: Process(self.root, f"kafka-{broker}") for broker in self.ids}

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, `host:port` separated by commas."""
        return ",".join(f"{HOST}:{self.port(broker)}" for broker in self.ids)

    @property
    def ready(self) -> bool:
        """Whether every broker is up and every other one knows it."""
        return all(self.serves(broker) for broker in self.ids)

    def serves(self, broker: int) -> bool:
        """Whether one broker is up and knows every other one."""
        return live_brokers(self.port(broker)) >= set(self.ids)

    def port(self, broker: int) -> int:
        """Where clients reach `broker`; the same after every restart."""
        return self._ports.get(f"kafka-{broker}")

    def start(self, timeout: float = 90.0, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Start what does not run and wait until the whole cluster is ready, also after a crash; harmless when it runs.

        Raises LocalError with a log's end when it does not come up within `timeout` seconds. The first start on a machine fetches the jars
        (`progress` is told how many are there) and makes Java's start-up cache.
        """
        idle = [broker for broker in self.ids if not self.processes[broker].alive]
        if idle:
            java = self._java(progress)
            self._format(java, idle)
            for broker in idle:
                self._launch(java, broker)
        self._wait(timeout, idle)

    def stop(self) -> None:
        """Stop every broker and keep the data; harmless when none runs."""
        # side by side: a broker that has lost its quorum would wait for it until the time is over
        for process in self.processes.values():
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop(timeout=30.0)

    def kill(self, broker: int = 1) -> None:
        """SIGKILL one broker, for the fault tests."""
        self.processes[broker].kill()

    def restart(self, broker: int = 1, timeout: float = 90.0) -> None:
        """Start one broker again after `kill`, or after a stop of it here, and wait until it serves."""
        self.processes[broker].stop()
        self._launch(self._java(), broker)
        self._wait(timeout, [broker])

    def _java(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Java:
        if self._given_java is None:
            self._given_java = kafka_java(progress)
            if not self._given_java.intact():
                self._given_java.make_cache(lambda file: _train(self._given_java or kafka_java(), file))
        return self._given_java

    def _launch(self, java: Java, broker: int, *, extra: tuple[str, ...] = ()) -> None:
        self.processes[broker].kill()  # what a lost pid file named still holds the ports
        for name in (f"kafka-{broker}", f"kafka-{broker}-controller"):
            self._ports.require_free(name)
        command = java.command("kafka.Kafka", self._configure(broker), heap_mb=self.heap_mb, extra=extra)
        self.processes[broker].start(command, cwd=self._folder(broker))

    def _wait(self, timeout: float, launched: Iterable[int]) -> None:
        for broker, process in self.processes.items():
            serves = functools.partial(self.serves, broker)
            try:
                process.wait_ready(serves, timeout)
            except EndedError:
                java = self._java()
                if broker in launched:
                    if not java.intact():
                        raise
                    java.drop_cache()  # the start-up cache may be what broke it: never again with this one
                self._launch(java, broker)  # where it was not launched here it was being killed when we looked
                process.wait_ready(serves, timeout)

    def _folder(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}"

    def _format(self, java: Java, brokers: list[int]) -> None:
        """Format the folders of `brokers` that are not yet, side by side; a format that was cut short is done again."""
        fresh = [broker for broker in brokers if not (self._folder(broker) / "formatted").exists()]
        tools = {broker: Process(self.root, f"kafka-{broker}-format") for broker in fresh}
        for broker, tool in tools.items():
            tool.kill()  # one whose starter was killed may run on
            shutil.rmtree(self._folder(broker), ignore_errors=True)
            self._folder(broker).mkdir(parents=True)
            arguments: list[str | Path] = [
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={self._cluster_id()}",
                "-c",
                self._configure(broker),
            ]
            tool.start(java.command(*arguments, heap_mb=self.heap_mb, extra=("-XX:TieredStopAtLevel=1",)))  # too short to optimise
        for broker, tool in tools.items():
            tool.finish()
            (self._folder(broker) / "formatted").touch()

    def _cluster_id(self) -> str:
        file = self.folder / "cluster-id"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(".new")
            temporary.write_text(urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))  # noqa: TID251 - a cluster is a new one by chance
            temporary.replace(file)
        return file.read_text()

    def _configure(self, broker: int) -> Path:
        """Write the broker's `server.properties` and return its path."""
        replicas = min(_REPLICATED, len(self.ids))
        acknowledged = 2 if replicas >= _REPLICATED else 1
        controllers = {one: self._ports.get(f"kafka-{one}-controller") for one in self.ids}
        listener = f"PLAINTEXT://{HOST}:{self.port(broker)}"
        settings: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": broker,
            "controller.quorum.voters": ",".join(f"{one}@{HOST}:{port}" for one, port in controllers.items()),
            "listeners": f"{listener},CONTROLLER://{HOST}:{controllers[broker]}",
            "advertised.listeners": listener,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self._folder(broker) / "data",
            "default.replication.factor": replicas,
            "min.insync.replicas": acknowledged,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": acknowledged,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": acknowledged,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.num.partitions": 4,
            "num.partitions": 6,
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            # how long the partitions of a killed leader stand still; alone, how long a restart after a kill waits for its former self
            "broker.session.timeout.ms": 6000 if len(self.ids) > 1 else 2500,
            "broker.heartbeat.interval.ms": 500,
            "log.retention.ms": -1,  # rebuilds read from the beginning; a topic that may forget says so itself
            "log.cleaner.dedupe.buffer.size": 32 << 20,  # the default of 128 MiB is a quarter of this heap
        }
        file = self._folder(broker) / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return file


def _train(java: Java, file: Path) -> None:
    """Run a throw-away broker once; Java writes its start-up cache to `file` when that ends."""
    with tempfile.TemporaryDirectory(prefix="encours-") as folder:
        broker = Kafka(Path(folder), java=java)
        broker._format(java, broker.ids)  # noqa: SLF001 - the same class
        broker._launch(java, 1, extra=(f"-XX:AOTCacheOutput={file}",))  # noqa: SLF001
        try:
            broker._wait(60.0, broker.ids)  # noqa: SLF001
            broker.processes[1].ask_to_stop()
            broker.processes[1].wait_end(60.0)
        finally:
            broker.processes[1].kill()
