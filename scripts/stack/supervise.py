"""Starts parts in the order of their needs, watches them, and starts again what ends, as its restart policy says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from scripts.stack.compose import COMPLETED, HEALTHY, Places, Service
from scripts.stack.native import Launch, prepare

State = Literal["waiting", "starting", "ready", "not ready", "done", "restarting", "failed"]

POLL_S = 0.1
PROBE_INTERVAL_S = 1.0
# As a container engine does it: twice as long each time, from the start again after a run of ten seconds.
FIRST_RESTART_S = 0.1
LONGEST_RESTART_S = 60.0
GOOD_RUN_S = 10.0
TAIL_LINES = 15


class Part:
    """One service as a process: its state, and what moves it to the next one."""

    def __init__(self, service: Service, places: Places, folder: Path, say: Callable[[Part, str], None]) -> None:
        self.service = service
        self.places = places
        self.folder = folder
        self.log = folder / "output.log"
        self.state: State = "waiting"
        self.restarts = 0
        self.is_once = False
        """It does its work and ends; others wait for that."""
        self._say = say
        self._launch: Launch | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = self._due_s = self._next_probe_s = 0.0
        self._pause_s = FIRST_RESTART_S

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None where none does."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def is_up(self) -> bool:
        """Whether those that wait for it may go on."""
        return self.state in {"ready", "done"}

    def step(self, parts: dict[str, Part]) -> None:
        """Looks at it once, and does what is due."""
        now_s = time.monotonic()
        if self.state == "waiting" and all(self._is_met(parts, *need) for need in self.service.needs.items()):
            self._start()
        elif self.state == "restarting" and now_s >= self._due_s:
            self.restarts += 1
            self._start()
        elif self._process is not None and (code := self._process.poll()) is not None:
            self._ended(code)
        elif self.state in {"starting", "ready", "not ready"} and now_s >= self._next_probe_s and not self.is_once:
            self._probe()

    def stop(self) -> None:
        """Ends it in order, or by force after its grace."""
        if self._process is not None and self._process.poll() is None:
            # PostgreSQL would wait for its clients on SIGTERM; the image asks for SIGINT, too.
            self._process.send_signal(signal.SIGINT if self.service.image.startswith("postgres") else signal.SIGTERM)
            try:
                self._process.wait(self.service.grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])

    def _is_met(self, parts: dict[str, Part], other: str, condition: str) -> bool:
        return parts[other].state == ("done" if condition == COMPLETED else "ready")

    def _start(self) -> None:
        if self._launch is None:
            self._launch = prepare(self.service, self.places, self.folder)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._launch.command,
                cwd=None if self._launch.user else self.folder,
                env={**os.environ, **self._launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._launch.user,
                start_new_session=True,  # Ctrl-C is for us: we stop the parts in order
            )
        self._began_s, self._next_probe_s = time.monotonic(), 0.0
        self._become("starting")

    def _probe(self) -> None:
        is_ready = self._launch is not None and self._launch.is_ready()
        self._next_probe_s = time.monotonic() + (POLL_S if self.state == "starting" else PROBE_INTERVAL_S)
        if is_ready and self.state != "ready":
            self._become("ready", f"after {time.monotonic() - self._began_s:.1f} s" if self.state == "starting" else "")
        elif not is_ready and self.state == "ready":
            self._become("not ready")

    def _ended(self, code: int) -> None:
        self._process = None
        ran_s = time.monotonic() - self._began_s
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self.is_once and code == 0:
            self._become("done", f"after {ran_s:.1f} s")
        elif self._may_restart(code):
            self._pause_s = FIRST_RESTART_S if ran_s >= GOOD_RUN_S else min(2 * self._pause_s, LONGEST_RESTART_S)
            self._due_s = time.monotonic() + self._pause_s
            self._become("restarting", f"{how}; again in {self._pause_s:.1f} s; log: {self.log}")
        else:
            self._become("failed", f"{how}; its last lines:\n{self.tail()}")

    def _may_restart(self, code: int) -> bool:
        policy, _, times = self.service.restart.partition(":")
        if policy == "on-failure":
            return code != 0 and (not times or self.restarts < int(times))
        return policy in {"always", "unless-stopped"}

    def _become(self, state: State, why: str = "") -> None:
        self.state = state
        self._say(self, why)


class Stack:
    """All parts together.

    Args:
        say: told of each change of a part's state.
    """

    def __init__(
        self, services: Iterable[Service], places: Places, logs: Path, say: Callable[[Part, str], None]
    ) -> None:
        self.parts = {one.name: Part(one, places, logs / one.name, say) for one in services}
        for part in self.parts.values():
            for other, condition in part.service.needs.items():
                if condition not in {COMPLETED, HEALTHY}:
                    raise ValueError(f"{part.service.name}: expected {COMPLETED} or {HEALTHY}, got {condition}")
                self.parts[other].is_once |= condition == COMPLETED

    @property
    def is_up(self) -> bool:
        """Whether everything is ready or has done its work."""
        return all(part.is_up for part in self.parts.values())

    @property
    def failed(self) -> list[Part]:
        """What ended and is not started again."""
        return [part for part in self.parts.values() if part.state == "failed"]

    def step(self) -> None:
        """Looks at each part once."""
        for part in self.parts.values():
            part.step(self.parts)

    def stop(self) -> None:
        """Ends all parts, those first that need others."""
        for part in reversed(self.parts.values()):
            part.stop()

    def write_json(self, path: Path) -> None:
        """Writes how everything is, whole or not at all."""
        state = {
            "up": self.is_up,
            "parts": {
                name: {
                    "state": part.state,
                    "address": part.places.address(name),
                    "pid": part.pid,
                    "restarts": part.restarts,
                    "log": str(part.log),
                }
                for name, part in self.parts.items()
            },
        }
        whole = path.with_name(f"{path.name}.part")
        whole.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        whole.replace(path)
