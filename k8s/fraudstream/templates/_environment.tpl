{{/* Settings as environment variables. They stand in the pod's template, not in a ConfigMap: a change rolls the pods, and
     pods of an earlier revision keep theirs, also while a canary runs. */}}

{{/* A component's settings: dict root, component */}}
{{- define "fraudstream.environment" -}}
{{- $values := .root.Values }}
{{- $secrets := get (include "fraudstream.secretKeys" . | fromJson) "keys" }}
{{- if or (has .component (list "worker" "audit" "topics")) (and (eq .component "api") $values.api.recording) }}
{{- include "fraudstream.kafkaEnvironment" .root }}
{{- end }}
{{- if ne .component "audit-migrate" }}
{{- include "fraudstream.streamEnvironment" .root }}
{{- end }}
{{- if and (has .component (list "worker" "api")) $values.redis.host }}
{{- include "fraudstream.redisEnvironment" .root }}
{{- end }}
{{- if has .component (list "worker" "api") }}
{{- include "fraudstream.modelEnvironment" .root }}
- name: WEB_HOST
  value: {{ $values.webHost | quote }}
- name: WEB_PORT
  value: "8000"
- name: DRAIN_S
  value: {{ include "fraudstream.text" (index $values .component).drainS | quote }}
{{- if eq $values.auth.mode "keys" }}
- name: API_KEY_HASHES_FILE
  value: /etc/fraudstream/api-keys/api-key-hashes
{{- else }}
- name: ALLOW_ANONYMOUS
  value: "true"
{{- end }}
{{- end }}
{{- range $name, $value := $values.settings }}
- name: {{ $name }}
  value: {{ include "fraudstream.text" $value | quote }}
{{- end }}
{{- range $secrets }}
- name: {{ hasPrefix "postgres-url" . | ternary "POSTGRES_URL" (. | upper | replace "-" "_") }}_FILE
  value: /etc/fraudstream/secrets/{{ . }}
{{- end }}
{{- end }}

{{- define "fraudstream.kafkaEnvironment" }}
{{- $kafka := .Values.kafka }}
- name: KAFKA_SERVERS
  value: {{ join "," $kafka.servers | quote }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ $kafka.securityProtocol }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
- name: KAFKA_SASL_MECHANISM
  value: {{ $kafka.sasl.mechanism }}
- name: KAFKA_SASL_USERNAME
  value: {{ $kafka.sasl.username | quote }}
{{- end }}
{{- if $kafka.caFrom.name }}
- name: KAFKA_SSL_CAFILE
  value: /etc/fraudstream/kafka-ca/ca.pem
{{- end }}
- name: KAFKA_SESSION_TIMEOUT_S
  value: {{ include "fraudstream.text" $kafka.sessionTimeoutS | quote }}
{{- end }}

{{/* Names that also an API without Kafka needs: copies of profiles are kept under them. */}}
{{- define "fraudstream.streamEnvironment" }}
{{- $kafka := .Values.kafka }}
- name: APP_ID
  value: {{ $kafka.appId | quote }}
- name: TRANSACTIONS_TOPIC
  value: {{ $kafka.topics.transactions | quote }}
- name: VERDICTS_TOPIC
  value: {{ $kafka.topics.verdicts | quote }}
- name: ALERTS_TOPIC
  value: {{ $kafka.topics.alerts | quote }}
- name: DEAD_LETTERS_TOPIC
  value: {{ $kafka.topics.deadLetters | quote }}
- name: LABELS_TOPIC
  value: {{ $kafka.topics.labels | quote }}
- name: TOPIC_PARTITIONS
  value: {{ include "fraudstream.text" $kafka.topicPartitions | quote }}
- name: TOPIC_REPLICATION
  value: {{ include "fraudstream.text" $kafka.topicReplication | quote }}
{{- end }}

{{- define "fraudstream.redisEnvironment" }}
{{- $redis := .Values.redis }}
- name: REDIS_HOST
  value: {{ printf "%s://%s:%d/%d" (ternary "rediss" "redis" $redis.tls) $redis.host (int $redis.port) (int $redis.database) | quote }}
- name: PROFILE_SOURCE
  value: {{ $redis.profileSource }}
{{- if $redis.username }}
- name: REDIS_USERNAME
  value: {{ $redis.username | quote }}
{{- end }}
{{- if and $redis.tls $redis.caFrom.name }}
- name: REDIS_SSL_CAFILE
  value: /etc/fraudstream/redis-ca/ca.pem
{{- end }}
{{- end }}

{{- define "fraudstream.modelEnvironment" }}
{{- if .Values.model.registry.existingClaim }}
- name: MODEL_REGISTRY
  value: /etc/fraudstream/models
{{- else if .Values.model.dir }}
- name: MODEL_DIR
  value: {{ .Values.model.dir | quote }}
{{- end }}
{{- end }}

{{/* Which places a component mounts, as a JSON object {"names": [...]}: dict root, component */}}
{{- define "fraudstream.mounts" -}}
{{- $values := .root.Values }}
{{- $names := list "tmp" }}
{{- if get (include "fraudstream.secretKeys" . | fromJson) "keys" }}{{ $names = append $names "secrets" }}{{ end }}
{{- if and (has .component (list "worker" "api")) (eq $values.auth.mode "keys") }}{{ $names = append $names "api-keys" }}{{ end }}
{{- if and $values.kafka.caFrom.name (or (has .component (list "worker" "audit" "topics")) (and (eq .component "api") $values.api.recording)) }}
  {{- $names = append $names "kafka-ca" }}
{{- end }}
{{- if and $values.redis.host $values.redis.tls $values.redis.caFrom.name (has .component (list "worker" "api")) }}{{ $names = append $names "redis-ca" }}{{ end }}
{{- if and $values.postgres.caFrom.name (or (has .component (list "audit" "audit-migrate")) (and (eq .component "worker") $values.audit.enabled $values.audit.console)) }}
  {{- $names = append $names "postgres-ca" }}
{{- end }}
{{- if and $values.model.registry.existingClaim (has .component (list "worker" "api")) }}{{ $names = append $names "models" }}{{ end }}
{{- dict "names" $names | toJson }}
{{- end }}

{{/* dict root, component */}}
{{- define "fraudstream.volumeMounts" -}}
{{- $root := .root }}
{{- range get (include "fraudstream.mounts" . | fromJson) "names" }}
- name: {{ . }}
  mountPath: {{ eq . "tmp" | ternary "/tmp" (printf "/etc/fraudstream/%s" .) }}
  {{- if ne . "tmp" }}
  readOnly: true
  {{- end }}
  {{- if and (eq . "models") $root.Values.model.registry.subPath }}
  subPath: {{ $root.Values.model.registry.subPath | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* dict root, component */}}
{{- define "fraudstream.volumes" -}}
{{- $values := .root.Values }}
{{- $secret := include "fraudstream.secretName" . | trim }}
{{- $keys := get (include "fraudstream.secretKeys" . | fromJson) "keys" }}
{{- range get (include "fraudstream.mounts" . | fromJson) "names" }}
- name: {{ . }}
  {{- if eq . "tmp" }}
  emptyDir:
    sizeLimit: 256Mi
  {{- else if eq . "secrets" }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
    items:
      {{- range $keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
  {{- else if eq . "api-keys" }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
    items:
      - {key: api-key-hashes, path: api-key-hashes}
  {{- else if eq . "models" }}
  persistentVolumeClaim:
    claimName: {{ $values.model.registry.existingClaim }}
    readOnly: true
  {{- else }}
  {{- $from := (index $values (trimSuffix "-ca" .)).caFrom }}
  {{- if eq $from.kind "Secret" }}
  secret:
    secretName: {{ $from.name }}
  {{- else }}
  configMap:
    name: {{ $from.name }}
  {{- end }}
    defaultMode: 0440
    items:
      - {key: {{ $from.key | quote }}, path: ca.pem}
  {{- end }}
{{- end }}
{{- end }}
