"""The other stream processors, each on the records that fraudstream gets; their programs are in peers/."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.cases import CHECKOUT, FAUST, Case
from benchmarks.checks import day_of_busiest_user, totals_of_users
from fraudstream.errors import FraudstreamError
from scripts import install
from tests.servers.jars import ServerUnavailableError, streams_cache, streams_jars

FAUST_NATURAL = "faust_natural"
NAIVE = "naive_scoring"
QUIX_COUNT = "quix_count"
QUIX_SLIDING = "quix_sliding_sum"
BYTEWAX = "bytewax_count"
KAFKA_STREAMS = "kafka_streams_count"

PEERS = CHECKOUT / "benchmarks" / "peers"
CACHE = CHECKOUT / ".cache" / "bench-peers"
PYTHON = CACHE / "venv" / "bin" / "python"
CLASSES = CACHE / "classes"
HEAP = ("-Xms512m", "-Xmx512m")
JAVA_CLASS = "KafkaStreamsCount"


def make_environment() -> None:
    """Installs the peers that cannot stand beside fraudstream's own dependencies into an environment of their own.

    Raises:
        FraudstreamError: it cannot be installed.
    """
    wanted = (PEERS / "requirements.txt").read_text(encoding="utf-8")
    stamp = CACHE / "installed.txt"
    if PYTHON.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing the peers' libraries into {CACHE.relative_to(CHECKOUT)}", flush=True)
    made = [sys.executable, "-m", "venv", "--clear", str(CACHE / "venv")]
    requirements = ["--quiet", "--requirement", str(PEERS / "requirements.txt")]
    by_uv = [str(install.UV), "pip", "install", "--python", str(PYTHON), *requirements]
    by_pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *requirements]
    if not install.run(made) or not (install.run(by_uv) or install.run(by_pip)):
        raise FraudstreamError(f"expected to install {PEERS / 'requirements.txt'}; the lines above say why it failed")
    stamp.write_text(wanted, encoding="utf-8")


def compile_streams() -> None:
    """Fetches Kafka Streams and compiles the one Java file against it.

    Raises:
        ServerUnavailableError: Java's compiler or Maven is missing, or one of them fails.
    """
    jars = streams_jars()
    CLASSES.mkdir(parents=True, exist_ok=True)
    command = ["javac", "-Xlint:all", "-d", str(CLASSES), "-cp", f"{jars}/*", str(PEERS / f"{JAVA_CLASS}.java")]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise ServerUnavailableError(
            "Kafka Streams needs Java's compiler; found no `javac` on the PATH (Debian: openjdk-17-jdk-headless)"
        ) from None
    if ran.returncode != 0:
        raise ServerUnavailableError(f"javac could not compile {JAVA_CLASS}.java:\n{ran.stderr}")


def _faust(module: str) -> tuple[str, ...]:
    return (FAUST, "-A", f"benchmarks.peers.{module}", "worker", "-l", "info", "--without-web")


def _java(*flags: str) -> tuple[str, ...]:
    classpath = ":".join((str(CLASSES), f"{streams_cache()}/*"))
    return ("java", *flags, "-cp", classpath, JAVA_CLASS)


PEER_CASES = (
    Case(
        FAUST_NATURAL,
        "Faust, natural: JSON table in RocksDB, count and sum, verdict per event",
        _faust("faust_natural"),
        gives_verdicts=True,
        check=totals_of_users,
        share=0.05,
        slowest_per_s=100.0,
        note="as its documentation shows it; every setting at its default.",
    ),
    Case(
        NAIVE,
        "Faust, naive scoring: JSON history, features in Python, scikit-learn and torch per event",
        _faust("naive_scoring"),
        gives_verdicts=True,
        share=0.0025,
        warm_up=50,
        slowest_per_s=2.0,
        note="three models of fraudstream's sizes (100 trees, autoencoder, LSTM), each called for each event.",
    ),
    Case(
        QUIX_COUNT,
        "Quix Streams: count and sum in RocksDB, verdict per event",
        (str(PYTHON), "-m", "benchmarks.peers.quix_count"),
        gives_verdicts=True,
        check=totals_of_users,
        share=0.5,
        prepare=make_environment,
        note="at least once, a checkpoint every 5 s, as it comes; events/s include the wait for the last one.",
    ),
    Case(
        QUIX_SLIDING,
        "Quix Streams: exact sum of the last 24 hours per event",
        (str(PYTHON), "-m", "benchmarks.peers.quix_sliding_sum"),
        gives_verdicts=True,
        check=day_of_busiest_user,
        share=0.2,
        prepare=make_environment,
        note="its sliding window of 24 hours in RocksDB; otherwise as above.",
    ),
    Case(
        BYTEWAX,
        "Bytewax: count and sum in memory, verdict per event",
        (str(PYTHON), "-m", "bytewax.run", "benchmarks.peers.bytewax_count"),
        gives_verdicts=True,
        check=totals_of_users,
        commits=False,
        share=0.5,
        prepare=make_environment,
        note="one worker, no recovery store, so no state outlives it; JSON by orjson. It commits nothing to Kafka: "
        "it is at its end with the last verdict.",
    ),
    Case(
        KAFKA_STREAMS,
        "Kafka Streams (Java): count and sum in cached RocksDB, verdict per event",
        _java(*HEAP),
        gives_verdicts=True,
        check=totals_of_users,
        share=5.0,
        slowest_per_s=2_000.0,
        prepare=compile_streams,
        note=f"one thread, at least once, a commit each second, changelog; `java {' '.join(HEAP)}`, the collector and "
        "all else as they come. Its JIT compiles while it is measured, which is why it gets more records.",
    ),
)


def java_version() -> str:
    """What `java` calls itself, for the report; empty where there is none."""
    try:
        said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True).stderr
    except FileNotFoundError:
        return ""
    return said.splitlines()[0] if said else ""


def peer_versions() -> dict[str, str]:
    """Versions of the peers' libraries, as pinned."""
    lines = (PEERS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    return {name: pins[name] for name in ("bytewax", "quixstreams")}
