{{/* What no schema can say: values that do not go together. Included once, by the worker's StatefulSet. */}}
{{- define "fraudstream.refuse" -}}
{{- $values := .Values }}
{{- $partitions := int $values.kafka.topicPartitions }}
{{- $scaling := $values.worker.autoscaling }}
{{- $least := int (include "fraudstream.leastWorkers" .) }}
{{- if eq $scaling.by "none" }}
  {{- if gt (int $values.worker.replicas) $partitions }}
    {{- fail (printf "worker.replicas: expected at most kafka.topicPartitions (%d), got %d; a worker without partitions has no work and is never ready" $partitions (int $values.worker.replicas)) }}
  {{- end }}
{{- else }}
  {{- if gt (int $scaling.maxReplicas) $partitions }}
    {{- fail (printf "worker.autoscaling.maxReplicas: expected at most kafka.topicPartitions (%d), got %d; a worker without partitions has no work and is never ready" $partitions (int $scaling.maxReplicas)) }}
  {{- end }}
  {{- if gt $least (int $scaling.maxReplicas) }}
    {{- fail (printf "worker.autoscaling.minReplicas: expected at most maxReplicas (%d), got %d" (int $scaling.maxReplicas) $least) }}
  {{- end }}
{{- end }}
{{- if ge (int $values.worker.standbyReplicas) $least }}
  {{- fail (printf "worker.standbyReplicas: expected fewer than there are workers at least (%d), got %d; each copy is kept by another worker" $least (int $values.worker.standbyReplicas)) }}
{{- end }}
{{- range $name := list "worker" "api" }}
  {{- $workload := index $values $name }}
  {{- if lt (float64 $workload.terminationGracePeriodSeconds) (addf $workload.drainS 20) }}
    {{- fail (printf "%s.terminationGracePeriodSeconds: expected at least drainS + 20 (%v), got %v; the pod would be killed before its last checkpoint" $name (addf $workload.drainS 20) $workload.terminationGracePeriodSeconds) }}
  {{- end }}
{{- end }}
{{- if and $values.api.enabled (not $values.redis.host) }}
  {{- fail "api.enabled: expected redis.host, the API answers from the copies there; name it, or set api.enabled to false (workers answer too)" }}
{{- end }}
{{- if and $values.api.enabled $values.api.autoscaling.enabled (gt (int $values.api.autoscaling.minReplicas) (int $values.api.autoscaling.maxReplicas)) }}
  {{- fail (printf "api.autoscaling.minReplicas: expected at most maxReplicas (%d), got %d" (int $values.api.autoscaling.maxReplicas) (int $values.api.autoscaling.minReplicas)) }}
{{- end }}
{{- if and (hasPrefix "SASL" $values.kafka.securityProtocol) (not $values.kafka.sasl.username) }}
  {{- fail (printf "kafka.sasl.username: expected a name with kafka.securityProtocol %s, got none" $values.kafka.securityProtocol) }}
{{- end }}
{{- if and $values.model.dir $values.model.registry.existingClaim }}
  {{- fail "model.dir, model.registry.existingClaim: expected one of them, got both" }}
{{- end }}
{{- if and $values.canary.workload (not (or $values.canary.tag $values.canary.digest)) }}
  {{- fail "canary.tag: expected the image's tag or canary.digest, got neither" }}
{{- end }}
{{- if and (eq $values.canary.workload "api") (not $values.api.enabled) }}
  {{- fail "canary.workload: expected a workload that runs, got api, which is not enabled" }}
{{- end }}
{{- if eq $values.secrets.source "external" }}
  {{- if not (include "fraudstream.externalSecretApi" .) }}
    {{- fail "secrets.source: expected the External Secrets operator in the cluster for \"external\", found none; install it, take another source, or, where no cluster is asked, tell helm: --api-versions external-secrets.io/v1/ExternalSecret" }}
  {{- end }}
  {{- if not $values.secrets.external.storeRef.name }}
    {{- fail "secrets.external.storeRef.name: expected the name of a SecretStore, got none" }}
  {{- end }}
{{- end }}
{{- if and (ne $values.secrets.source "values") $values.secrets.values }}
  {{- fail (printf "secrets.values: expected none with secrets.source %s; they would be kept in the release and not be used" $values.secrets.source) }}
{{- end }}
{{- end }}
