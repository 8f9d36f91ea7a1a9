"""Kafka's jars, fetched once by Maven (pom.xml beside this file) into a cache directory.

The cache is ~/.cache/fraudstream/kafka-<version>, or where KAFKA_HOME_CACHE says; jars put there by hand do as well.
Those of Kafka Streams, with everything that they need, are in a directory beside it, its name with -streams behind.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
KAFKA_VERSION = "4.1.0"
MAIN_JAR = f"kafka_2.13-{KAFKA_VERSION}.jar"
STREAMS_JAR = f"kafka-streams-{KAFKA_VERSION}.jar"
DOWNLOAD_TIMEOUT_S = 600.0
SAID_LINES = 15
TOOL_HEAP = "-Xmx256m"
CONSOLE_TOOLS = {
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}


class ServerUnavailableError(RuntimeError):
    """This machine cannot run the server; says what is missing."""


def kafka_jars() -> Path:
    """The directory of Kafka's jars, fetched by Maven when it is not there.

    Raises:
        ServerUnavailableError: Java or Maven is missing, or Maven fails.
    """
    return _fetched(_cache(), MAIN_JAR)


def streams_jars() -> Path:
    """The directory of the jars of Kafka Streams, likewise.

    Raises:
        ServerUnavailableError: as for `kafka_jars`.
    """
    return _fetched(streams_cache(), STREAMS_JAR, "--activate-profiles", "streams")


def streams_cache() -> Path:
    """Where `streams_jars` keeps them."""
    cache = _cache()
    return cache.with_name(f"{cache.name}-streams")


def _cache() -> Path:
    default = Path.home() / ".cache" / "fraudstream" / f"kafka-{KAFKA_VERSION}"
    return Path(os.environ.get("KAFKA_HOME_CACHE") or default).expanduser()


def _fetched(jars: Path, main_jar: str, *options: str) -> Path:
    _require("java", "a Java runtime of version 17 or later (Debian: openjdk-17-jre-headless)")
    if (jars / main_jar).exists():
        return jars
    _require("mvn", f"Maven (Debian: maven), or Kafka's jars in {jars} (KAFKA_HOME_CACHE names another place)")
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Beside the goal and renamed when whole, so that an interrupted download leaves nothing that looks complete.
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=f"{jars.name}-") as parts:
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), *options, "dependency:copy-dependencies"]
        ran = subprocess.run(
            [*command, f"-DoutputDirectory={parts}/jars"],
            check=False,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
        if ran.returncode != 0:
            said = "\n".join((ran.stdout + ran.stderr).splitlines()[-SAID_LINES:])
            raise ServerUnavailableError(f"Maven could not fetch Kafka {KAFKA_VERSION}:\n{said}")
        if not (jars / main_jar).exists():  # else another process was faster
            (Path(parts) / "jars").rename(jars)
    return jars


def console_tools(directory: Path) -> Path:
    """Writes Kafka's console tools as commands, named as in Kafka's own download; returns their directory, for PATH.

    Raises:
        ServerUnavailableError: as for `kafka_jars`.
    """
    jars = kafka_jars()
    directory.mkdir(parents=True, exist_ok=True)
    for name, main_class in CONSOLE_TOOLS.items():
        tool = directory / f"{name}.sh"
        tool.write_text(f'#!/bin/sh\nexec java {TOOL_HEAP} -cp {shlex.quote(str(jars))}"/*" {main_class} "$@"\n')
        tool.chmod(0o755)
    return directory


def _require(program: str, what: str) -> None:
    if shutil.which(program) is None:
        raise ServerUnavailableError(f"a real Kafka needs {what}; found no `{program}` on the PATH")
