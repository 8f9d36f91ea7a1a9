"""What the chart gives to processes: every setting is one, each secret goes where it is needed and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudstream.settings import Settings, load_settings
from tests.chart import (
    FROM_VALUES,
    KEDA,
    NAMESPACE,
    PROMETHEUS_OPERATOR,
    SECURED,
    Manifest,
    Rendered,
    environment,
    render,
    schema,
)

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("helm")]

# Settings


def test_every_variable_is_a_setting(rendered: Rendered) -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in secret}
    for name, _, container in rendered.containers():
        assert environment(container).keys() - known <= {"POD_NAME"}, name


def test_the_settings_that_values_may_name_are_those_the_chart_does_not_set() -> None:
    free = schema()["properties"]["settings"]["properties"].keys()
    secured = [render(SECURED), render({"auth": {"mode": "anonymous"}})]
    secured += [render({"model": {"dir": "/model"}}), render({"model": {"registry": {"existingClaim": "models"}}})]
    secured.append(render({"redis": {"username": "fraud"}}))
    of_chart = {
        name if name.lower() in Settings.model_fields else name.removesuffix("_FILE")
        for one in secured
        for *_, container in one.containers()
        for name in environment(container)
    } - {"POD_NAME"}
    plain_keys = {"API_KEYS"}  # only hashes of keys belong into a cluster
    assert free == {name.upper() for name in Settings.model_fields} - of_chart - plain_keys
    assert not free & of_chart


def test_every_process_takes_its_settings(
    rendered: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_environment: None
) -> None:
    place = tmp_path / "etc"
    for name, spec, container in rendered.containers():
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            for file in _files(volumes.get(mount["name"], {})):
                path = place / mount["mountPath"].removeprefix("/etc/fraudstream/") / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("postgresql://db/fraud", encoding="utf-8")
        with monkeypatch.context() as patch:
            for variable, value in environment(container).items():
                patch.setenv(variable, value.replace("/etc/fraudstream", str(place)))
            settings = load_settings()
        for field in (settings.kafka_ssl_cafile, settings.redis_ssl_cafile, settings.api_key_hashes_file):
            assert field is None or field.is_file(), name
        if "audit-migrate" not in name:
            assert settings.app_id == "fraudstream", name
        if "worker" in name and settings.needs_key:
            assert settings.worker_key is not None, "hashes alone give workers nothing to show each other"


def _files(volume: Manifest) -> Iterator[str]:
    for source in ("secret", "configMap"):
        yield from (item["path"] for item in volume.get(source, {}).get("items", ()))


def test_numbers_are_written_as_the_library_reads_them() -> None:
    settings = {"PROFILE_TTL_S": 3024000, "CONTAMINATION": 0.05, "ALERT_ON_ALL": True}
    worker = render({"settings": settings}).get("StatefulSet", "fraudstream-worker")
    found = environment(worker["spec"]["template"]["spec"]["containers"][0])
    assert {name: found[name] for name in settings} == {
        "PROFILE_TTL_S": "3024000",
        "CONTAMINATION": "0.05",
        "ALERT_ON_ALL": "true",
    }


def test_each_worker_is_reached_at_a_name_of_its_own() -> None:
    found = render()
    worker = found.get("StatefulSet", "fraudstream-worker")
    service = found.get("Service", worker["spec"]["serviceName"])
    variables = environment(worker["spec"]["template"]["spec"]["containers"][0])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == worker["spec"]["selector"]["matchLabels"]
    assert variables["WORKER_URL"] == f"http://fraudstream-worker-0.{service['metadata']['name']}.{NAMESPACE}.svc:8000"
    assert variables["KAFKA_GROUP_INSTANCE_ID"] == "fraudstream-worker-0"
    assert variables["STANDBY_REPLICAS"] == "1"


# Secrets


def test_a_secret_stands_in_secrets_only() -> None:
    for one in render(FROM_VALUES, apis=(KEDA, *PROMETHEUS_OPERATOR)).objects:
        assert ("sentinel-" in json.dumps(one)) == (one["kind"] == "Secret"), one["metadata"]["name"]


def test_each_workload_sees_its_own_secrets_only() -> None:
    found = render(SECURED)
    seen = {
        name: {
            item["key"]
            for volume in spec["volumes"]
            if volume.get("secret", {}).get("secretName") == "fraudstream-secrets"
            for item in volume["secret"]["items"]
        }
        for name, spec, _ in found.containers()
    }
    kafka, keys = {"kafka-sasl-password"}, {"api-key-hashes"}
    assert seen == {
        "fraudstream-worker": kafka | keys | {"redis-password", "worker-key", "postgres-url-reader"},
        "fraudstream-api": kafka | keys | {"redis-password"},
        "fraudstream-audit": kafka | {"postgres-url-writer"},
        "fraudstream-topics": kafka,
        "fraudstream-audit-migrate": {"postgres-url-owner"},
        "fraudstream-test-worker": kafka | keys | {"redis-password", "worker-key"},
        "fraudstream-test-audit": kafka | {"postgres-url-writer"},
    }
    for name, _, container in found.containers():
        assert not [one for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})], name


@pytest.mark.parametrize("source", ["values", "external"])
def test_the_owner_of_the_trail_is_known_to_the_setup_jobs_only(source: str) -> None:
    secrets = {"source": source, "external": {"storeRef": {"name": "vault"}}}
    values = FROM_VALUES | {
        "secrets": secrets | ({"values": FROM_VALUES["secrets"]["values"]} if source == "values" else {})
    }
    found = render(values, apis=("external-secrets.io/v1/ExternalSecret",)).of_kind("Secret", "ExternalSecret")
    assert found.keys() == {"fraudstream-secrets", "fraudstream-setup"}
    assert "postgres-url-owner" not in json.dumps(found["fraudstream-secrets"])
    assert "postgres-url-owner" in json.dumps(found["fraudstream-setup"])


def test_a_changed_secret_restarts_who_reads_it_and_a_changed_key_nobody() -> None:
    def templates(**changed: str) -> dict[str, str]:
        secrets = {"source": "values", "values": FROM_VALUES["secrets"]["values"] | changed}
        found = render(FROM_VALUES | {"secrets": secrets}).of_kind("StatefulSet", "Deployment")
        return {name: json.dumps(one["spec"]["template"]) for name, one in found.items()}

    before = templates()
    after = templates(**{"redis-password": "other"})
    assert {name for name, one in after.items() if one != before[name]} == {"fraudstream-worker", "fraudstream-api"}
    assert templates(**{"api-key-hashes": "other"}) == before
