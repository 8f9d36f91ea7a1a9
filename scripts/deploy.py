"""Deploys a version with Helm: one pod first, then all, watched all the way; goes back by itself when it gets worse.

    python scripts/deploy.py --version 1.4.0 --values production.yaml --canary worker \\
        --endpoint https://fraud.example --prometheus http://prometheus:9090

Needs Python 3.11, helm and kubectl on the PATH and nothing else. Steps: preflight, canary, watch, promote, watch,
smoke. Whatever fails after the first change, a signal to this process included, goes back to the revision before.
Exit codes: 0 the version serves, 1 it does not and the old one serves again, 2 wrong use, nothing was changed,
3 going back failed or there is nothing to go back to: a person must look.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

CHART = Path(__file__).resolve().parents[1] / "k8s" / "fraudstream"
SMOKE = Path(__file__).resolve().with_name("integration_tests.py")
DEPLOYED, ROLLED_BACK, REFUSED, BROKEN = 0, 1, 2, 3
OUTCOMES = {DEPLOYED: "deployed", ROLLED_BACK: "rolled_back", REFUSED: "refused", BROKEN: "needs_a_person"}
LARGEST_REPLY_BYTES = 1_000_000


@dataclass(frozen=True)
class Gate:
    """A figure of Prometheus that must not be above its limit; `expr` has SELECTOR where labels go.

    Where nothing happened (0/0, or no such series yet) there is nothing to complain about, unless `needed` says that
    the absence itself is the trouble.
    """

    name: str
    expr: str
    limit: float
    needed: bool = False


GATES = (
    Gate("processes that are not ready", "count(fraudstream_ready{SELECTOR} == 0) or vector(0)", 0),
    Gate("no process is seen by Prometheus", "1 - clamp_max(count(fraudstream_ready{SELECTOR}), 1)", 0, needed=True),
    Gate(
        "share of requests answered with 5xx",
        'sum(rate(fraudstream_http_requests_total{SELECTOR,status=~"5.."}[2m]))'
        " / sum(rate(fraudstream_http_requests_total{SELECTOR}[2m]))",
        0.01,
    ),
    Gate(
        "share of verdicts without one of the models",
        "sum(rate(fraudstream_degraded_total{SELECTOR}[2m])) / sum(rate(fraudstream_verdicts_total{SELECTOR}[2m]))",
        0.01,
    ),
    Gate(
        "share of messages that became dead letters",
        "sum(rate(fraudstream_dead_letters_total{SELECTOR}[2m]))"
        " / sum(rate(fraudstream_transactions_total{SELECTOR}[2m]))",
        0.05,
    ),
)


class RefusedError(Exception):
    """Nothing was changed; the text says what is missing and what to do."""


class UnhealthyError(Exception):
    """The new version is not good enough; the text says what was seen."""


@dataclass
class Step:
    """One step of a deployment and how it ended."""

    name: str
    seconds: float
    ok: bool
    detail: str


@dataclass
class Report:
    """What happened, for people and for `--json`."""

    release: str
    namespace: str
    version: str
    outcome: str = ""
    reason: str = ""
    revision_before: int | None = None
    revision_after: int | None = None
    steps: list[Step] = field(default_factory=list)


def say(text: str) -> None:
    """A line of log, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Cluster:
    """helm and kubectl for one release in one namespace."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._release, self._namespace = options.release, options.namespace

    def helm(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Runs helm; what it wrote.

        Raises:
            UnhealthyError: it failed, with its own words.
        """
        return _run(["helm", *arguments, "--namespace", self._namespace], timeout_s)

    def kubectl(self, *arguments: str) -> Any:
        """Runs kubectl get and the like; the JSON that it wrote."""
        return json.loads(_run(["kubectl", *arguments, "--namespace", self._namespace, "--output", "json"], 60.0))

    def history(self) -> list[dict[str, Any]]:
        """Revisions of the release, oldest first; none where it is not installed."""
        listed = json.loads(self.helm("list", "--all", "--filter", f"^{self._release}$", "--output", "json"))
        if not listed:
            return []
        history: list[dict[str, Any]] = json.loads(self.helm("history", self._release, "--output", "json"))
        return history

    def serving(self) -> int | None:
        """The revision that serves, None where there is none."""
        deployed = [entry["revision"] for entry in self.history() if entry["status"] == "deployed"]
        return int(deployed[-1]) if deployed else None

    def image(self) -> dict[str, str]:
        """The image of the serving revision, as the chart's values say it."""
        values = json.loads(self.helm("get", "values", self._release, "--all", "--output", "json"))
        return {key: str(value) for key, value in values["image"].items() if key in {"tag", "digest"}}

    def upgrade(self, sets: dict[str, str], timeout_s: float) -> None:
        """Installs or upgrades; helm waits for every workload and goes back by itself where one does not get ready."""
        values = [part for file in self._options.values for part in ("--values", str(file))]
        pairs = [part for name, value in sets.items() for part in ("--set-string", f"{name}={value}")]
        chosen = [part for pair in self._options.set for part in ("--set", pair)]
        self.helm(
            *("upgrade", self._release, str(self._options.chart), "--install", "--create-namespace"),
            *("--atomic", "--timeout", f"{timeout_s:.0f}s", "--history-max", "20"),
            *values,
            *chosen,
            *pairs,
            timeout_s=2 * timeout_s + 60,  # helm itself may need as long again to go back
        )

    def go_back(self, revision: int, timeout_s: float) -> None:
        """Makes an earlier revision serve again and waits until it does."""
        self.helm(
            *("rollback", self._release, str(revision), "--wait", "--timeout", f"{timeout_s:.0f}s"),
            timeout_s=timeout_s + 30,
        )

    def troubles(self) -> list[str]:
        """Workloads of the release of which less is ready than wanted."""
        label = f"app.kubernetes.io/instance={self._release}"
        found = []
        for item in self.kubectl("get", "statefulsets,deployments", "--selector", label)["items"]:
            wanted, ready = item["spec"].get("replicas", 1), item.get("status", {}).get("readyReplicas", 0)
            if ready < wanted:
                found.append(f"{item['kind']} {item['metadata']['name']}: {ready} of {wanted} pods are ready")
        return found


class Watch:
    """Looks at the deployment again and again, from inside and from outside.

    A single bad look is forgiven; as many in a row as `--tolerate` says are not.
    """

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self._cluster, self._options = cluster, options

    def run(self, seconds: float) -> str:
        """Watches for so long.

        Returns:
            What was seen, in a few words.

        Raises:
            UnhealthyError: it was bad too often in a row.
        """
        ends_s, looks, bad = time.monotonic() + seconds, 0, 0
        while True:
            troubles = self.look()
            looks, bad = looks + 1, bad + 1 if troubles else 0
            for trouble in troubles:
                say(f"    {bad} of {self._options.tolerate} bad looks in a row: {trouble}")
            if bad >= self._options.tolerate:
                raise UnhealthyError("; ".join(troubles))
            # A bad look at the very end is not let off: it is looked at until it is good or bad for certain.
            if time.monotonic() >= ends_s and bad == 0:
                return f"{looks} looks in {seconds:.0f} s, healthy at the end"
            time.sleep(self._options.interval_s)

    def look(self) -> list[str]:
        """What is wrong now."""
        looks: list[Callable[[], list[str]]] = [self._cluster.troubles]
        if self._options.endpoint:
            looks.append(self._health)
        if self._options.prometheus:
            looks.append(self._gates)
        found: list[str] = []
        for look in looks:
            try:
                found += look()
            except (UnhealthyError, OSError, ValueError, KeyError) as error:
                found.append(f"could not look: {error}")
        return found

    def _health(self) -> list[str]:
        url = self._options.endpoint.rstrip("/") + "/health/ready"
        status, body = _get(url, self._options.request_timeout_s)
        return (
            []
            if status == HTTPStatus.OK
            else [f"GET {url}: expected 200, got {status} {body[:200].decode(errors='replace')}"]
        )

    def _gates(self) -> list[str]:
        found = []
        for gate in GATES:
            value = self._figure(gate.expr.replace("SELECTOR", self._options.prometheus_selector).replace("{,", "{"))
            if value is None and gate.needed:
                found.append(gate.name)
            elif value is not None and value > gate.limit:
                found.append(f"{gate.name}: {value:g}, allowed are {gate.limit:g}")
        return found

    def _figure(self, expr: str) -> float | None:
        """An instant query's only value; None where there is none or it is 0/0."""
        query = urllib.parse.urlencode({"query": expr})
        url = f"{self._options.prometheus.rstrip('/')}/api/v1/query?{query}"
        status, body = _get(url, self._options.request_timeout_s)
        if status != HTTPStatus.OK:
            raise UnhealthyError(f"Prometheus answered {status} to {expr!r}: {body[:200].decode(errors='replace')}")
        result = json.loads(body)["data"]["result"]
        value = float(result[0]["value"][1]) if result else float("nan")
        return None if math.isnan(value) else value


class Deployment:
    """One run of the script."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._cluster = Cluster(options)
        self._watch = Watch(self._cluster, options)
        self.report = Report(options.release, options.namespace, options.version)
        self._changed = False

    def run(self) -> int:
        """Deploys.

        Returns:
            The exit code.
        """
        try:
            self._step("preflight", self._preflight)
            before = self.report.revision_before
            if self._options.canary != "none" and before is not None:
                self._step(f"canary: one pod of the {self._options.canary}", self._canary)
                self._step("watch the canary", lambda: self._watch.run(self._options.canary_s))
            self._step("promote", self._promote)
            self._step("watch", lambda: self._watch.run(self._options.watch_s))
            if self._options.endpoint and not self._options.no_smoke:
                self._step("smoke", self._smoke)
        except RefusedError as refused:
            return self._end(REFUSED, str(refused))
        except KeyboardInterrupt:
            return self._after_failure("interrupted by a signal")
        except Exception as error:  # whatever it was: a half-deployed version must not stay
            return self._after_failure(str(error) if isinstance(error, UnhealthyError) else repr(error))
        return self._end(DEPLOYED, "")

    def _step(self, name: str, action: Callable[[], str]) -> None:
        say(f"▶ {name}")
        started_s = time.monotonic()
        try:
            detail = action()
        except BaseException as error:
            self._note(name, started_s, ok=False, detail=str(error) or type(error).__name__)
            raise
        self._note(name, started_s, ok=True, detail=detail)

    def _note(self, name: str, started_s: float, *, ok: bool, detail: str) -> None:
        seconds = round(time.monotonic() - started_s, 1)
        self.report.steps.append(Step(name, seconds, ok, detail))
        say(f"  {'✓' if ok else '✗'} {name} ({seconds} s): {detail}")

    def _preflight(self) -> str:
        for file in (*self._options.values, self._options.chart):
            if not file.exists():
                raise RefusedError(f"expected a file at {file}, found none")
        try:
            history = self._cluster.history()
        except UnhealthyError as error:
            raise RefusedError(f"the cluster cannot be asked: {error}") from None
        if history and history[-1]["status"].startswith("pending"):
            raise RefusedError(
                f"revision {history[-1]['revision']} is {history[-1]['status']}: another deployment runs, or one was "
                f"killed; then `helm rollback {self._options.release} --namespace {self._options.namespace}` first"
            )
        before = self.report.revision_before = self._cluster.serving()
        if before is None:
            return "nothing serves yet: a first installation, without a canary"
        return f"revision {before} serves, image {self._cluster.image()}"

    def _canary(self) -> str:
        old = self._cluster.image()
        sets = {f"image.{name}": value for name, value in old.items()}
        new = {f"canary.{name}": value for name, value in self._new_image().items()}
        self._upgrade({**sets, "canary.workload": self._options.canary, **new})
        return f"{self._options.version} runs in one pod, everything else stays at {old.get('tag')}"

    def _promote(self) -> str:
        image = {f"image.{name}": value for name, value in self._new_image().items()}
        self._upgrade({**image, "canary.workload": ""})
        return f"{self._options.version} runs everywhere"

    def _new_image(self) -> dict[str, str]:
        return {"tag": self._options.version, "digest": self._options.digest}

    def _upgrade(self, sets: dict[str, str]) -> None:
        self._changed = True
        self._cluster.upgrade(sets, self._options.deadline_s)

    def _smoke(self) -> str:
        _run([sys.executable, str(SMOKE), "--endpoint", self._options.endpoint], 300.0)  # the key is in API_KEY
        return "scripts/integration_tests.py found nothing wrong"

    def _after_failure(self, reason: str) -> int:
        """Goes back to what served before, unless helm did so already."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # going back is not interrupted
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        before = self.report.revision_before
        if not self._changed:
            return self._end(REFUSED, reason)
        if before is None:
            return self._end(BROKEN, f"{reason}; there is no earlier revision to go back to, so it stays as it is")
        try:
            self._step("go back", lambda: self._go_back(before))
        except Exception as error:
            return self._end(BROKEN, f"{reason}; going back failed too: {error}")
        return self._end(ROLLED_BACK, reason)

    def _go_back(self, revision: int) -> str:
        last = self._cluster.history()[-1]
        by_helm = last["status"] == "deployed" and last["description"] == f"Rollback to {revision}"
        if not by_helm:
            self._cluster.go_back(revision, self._options.rollback_s)
        troubles = self._cluster.troubles()
        if troubles:
            raise UnhealthyError("; ".join(troubles))
        return f"revision {revision} serves again" + (", helm had done it" if by_helm else "")

    def _end(self, code: int, reason: str) -> int:
        self.report.outcome, self.report.reason = OUTCOMES[code], reason
        with suppress(UnhealthyError):  # the cluster may be out of reach by now; the outcome is known all the same
            self.report.revision_after = self._cluster.serving()
        say(f"{self.report.outcome}: {reason or f'{self._options.version} serves'}")
        return code


def _run(command: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise RefusedError(f"expected {command[0]} on the PATH and found none: install it") from None
    except subprocess.TimeoutExpired:
        raise UnhealthyError(f"{' '.join(command[:3])} did not end within {timeout_s:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise UnhealthyError(f"{' '.join(command[:3])} ended with {done.returncode}: {said}")
    return done.stdout


def _get(url: str, timeout_s: float) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310  only http(s) passes the options
            return response.status, response.read(LARGEST_REPLY_BYTES)
    except urllib.error.HTTPError as error:
        return error.code, error.read(LARGEST_REPLY_BYTES)


def _url(text: str) -> str:
    if urllib.parse.urlsplit(text).scheme not in {"http", "https"} or not urllib.parse.urlsplit(text).netloc:
        raise argparse.ArgumentTypeError(f"expected http://HOST[:PORT] or https://HOST[:PORT], got {text!r}")
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--version", required=True, help="tag of the image")
    add("--digest", default="", help="sha256:… of the image; deployed in place of the tag, which then only names it")
    add("--chart", type=Path, default=CHART, help="default: k8s/fraudstream beside this script")
    add("--values", type=Path, action="append", default=[], help="a values file; may be given again")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the chart; may be given again")
    add("--release", default="fraudstream")
    add("--namespace", default="fraud-detection")
    add("--canary", choices=("none", "api", "worker"), default="none", help="of what one pod goes first")
    add("--canary-s", type=float, default=300.0, help="how long the canary is watched (300)")
    add("--watch-s", type=float, default=300.0, help="how long all of it is watched afterwards (300)")
    add("--interval-s", type=float, default=5.0, help="between two looks (5)")
    add("--tolerate", type=int, default=3, help="so many bad looks in a row go back (3)")
    add("--deadline-s", type=float, default=600.0, help="how long pods may take to get ready (600)")
    add("--rollback-s", type=float, default=300.0, help="how long going back may take (300)")
    add("--request-timeout-s", type=float, default=5.0, help="of one request to endpoint or Prometheus (5)")
    add(
        "--endpoint",
        type=_url,
        help="where it answers: its /health/ready is watched, and the smoke test asks there, with API_KEY",
    )
    add("--no-smoke", action="store_true", help="without scripts/integration_tests.py at the end")
    add("--prometheus", type=_url, help="its figures are watched: not ready, 5xx, degraded, dead letters")
    add("--prometheus-selector", default=None, help='labels of the deployment there (namespace="NAMESPACE")')
    add("--json", type=Path, help="writes what happened to this file")
    options = parser.parse_args(arguments)
    if options.prometheus_selector is None:
        options.prometheus_selector = f'namespace="{options.namespace}"'
    return options


def main() -> int:
    """Deploys, and writes what happened.

    Returns:
        The exit code.
    """
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    deployment = Deployment(options)
    code = deployment.run()
    if options.json:
        options.json.write_text(json.dumps(asdict(deployment.report), indent=2) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
