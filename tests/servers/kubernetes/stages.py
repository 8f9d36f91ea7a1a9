"""What simulated pods do: start, get ready, fail, complete, go away; as the Stage objects that kwok plays.

A pod gets ready half a second after its start, and a Job's pod completes. A pod fails instead, and runs without ever
being ready, where an image of it holds the word `unready` (`registry.example/fraudstream:2.0.0-unready`) or while its
annotation READY_ANNOTATION is "false": a running pod loses and regains its readiness with `kubectl annotate`.
"""

from __future__ import annotations

from typing import Any

UNREADY_IMAGE = "unready"
READY_ANNOTATION = "tests.fraudstream/ready"
READY_DELAY_MS = 500

FAILS = (
    f'(.metadata.annotations["{READY_ANNOTATION}"] == "false")'
    f' or any(.spec.containers[].image; contains("{UNREADY_IMAGE}"))'
)
IS_READY = 'any(.status.conditions[]?; .type == "Ready" and .status == "True")'
OF_A_JOB = 'any(.metadata.ownerReferences[]?; .kind == "Job")'

START = """
phase: Running
startTime: {{ Now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
initContainerStatuses:
{{ range .spec.initContainers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0,
   state: {terminated: {exitCode: 0, reason: Completed, finishedAt: {{ Now | Quote }}, startedAt: {{ Now | Quote }}}}}
{{ end }}
"""
CONDITIONS = """
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
- {type: ContainersReady, status: "%(ready)s", lastTransitionTime: {{ Now | Quote }}}
- {type: Ready, status: "%(ready)s", lastTransitionTime: {{ Now | Quote }}}
"""
CONTAINERS = """
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", restartCount: 0, ready: %(flag)s,
   started: %(flag)s, state: %(state)s}
{{ end }}
"""
RUNNING = "{running: {startedAt: {{ Now | Quote }}}}"
ENDED = "{terminated: {exitCode: %d, reason: %s, finishedAt: {{ Now | Quote }}, startedAt: {{ Now | Quote }}}}"


Selector = dict[str, list[str] | None]
"""jq expression -> one of the values that it must give; None: nothing, []: anything."""


def pod_stages() -> list[dict[str, Any]]:
    """Every stage of a pod; kwok's own for nodes stay."""
    running: Selector = {".status.phase": ["Running"]}
    return [
        _stage("start", {".status.podIP": None}, START + _conditions(ready=False) + _containers(False, RUNNING)),
        _stage(
            "ready",
            running | {IS_READY: ["false"], FAILS: ["false"], OF_A_JOB: ["false"]},
            _conditions(ready=True) + _containers(True, RUNNING),
            delay_ms=READY_DELAY_MS,
        ),
        _stage(
            "unready",
            running | {IS_READY: ["true"], FAILS: ["true"]},
            _conditions(ready=False) + _containers(False, RUNNING),
        ),
        _stage(
            "complete",
            running | {OF_A_JOB: ["true"], FAILS: ["false"]},
            "phase: Succeeded\n" + _containers(False, ENDED % (0, "Completed")),
            delay_ms=READY_DELAY_MS,
        ),
        _stage(
            "fail",
            running | {OF_A_JOB: ["true"], FAILS: ["true"]},
            "phase: Failed\n" + _containers(False, ENDED % (1, "Error")),
            delay_ms=READY_DELAY_MS,
        ),
        _named("delete", {".metadata.deletionTimestamp": []}, {"finalizers": {"empty": True}, "delete": True}),
    ]


def _stage(name: str, selector: Selector, status: str, delay_ms: int = 0) -> dict[str, Any]:
    selects: Selector = {".metadata.deletionTimestamp": None, **selector}
    return _named(name, selects, {"statusTemplate": status}, delay_ms)


def _named(name: str, selector: Selector, then: dict[str, Any], delay_ms: int = 0) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": f"pod-{name}"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchExpressions": [
                    {"key": key, "operator": "In", "values": values}
                    if values
                    else {"key": key, "operator": "DoesNotExist" if values is None else "Exists"}
                    for key, values in selector.items()
                ]
            },
            "delay": {"durationMilliseconds": delay_ms},
            "next": then,
        },
    }


def _conditions(*, ready: bool) -> str:
    return CONDITIONS % {"ready": ready}


def _containers(ready: bool, state: str) -> str:
    return CONTAINERS % {"flag": str(ready).lower(), "state": state}
