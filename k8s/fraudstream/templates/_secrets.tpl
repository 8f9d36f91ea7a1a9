{{/* Which secret goes where. Each is a file below /etc/fraudstream/secrets, and a setting NAME_FILE names it. */}}

{{/* Keys that a component needs, as a JSON object {"keys": [...]}: dict root, component */}}
{{- define "fraudstream.secretKeys" -}}
{{- $values := .root.Values }}
{{- $keys := list }}
{{- $talksToKafka := or (has .component (list "worker" "audit" "topics")) (and (eq .component "api") $values.api.recording) }}
{{- if and $talksToKafka (hasPrefix "SASL" $values.kafka.securityProtocol) }}
  {{- $keys = append $keys "kafka-sasl-password" }}
{{- end }}
{{- if and (has .component (list "worker" "api")) $values.redis.host $values.redis.hasPassword }}
  {{- $keys = append $keys "redis-password" }}
{{- end }}
{{- if and (eq .component "worker") (eq $values.auth.mode "keys") }}
  {{- $keys = append $keys "worker-key" }}
{{- end }}
{{- if and (eq .component "worker") $values.audit.enabled $values.audit.console }}
  {{- $keys = append $keys "postgres-url-reader" }}
{{- end }}
{{- if eq .component "audit" }}
  {{- $keys = append $keys "postgres-url-writer" }}
{{- end }}
{{- if eq .component "audit-migrate" }}
  {{- $keys = append $keys "postgres-url-owner" }}
{{- end }}
{{- dict "keys" $keys | toJson }}
{{- end }}

{{/* Keys of the workloads' Secret, or of the setup jobs': dict root, setup */}}
{{- define "fraudstream.allSecretKeys" -}}
{{- $values := .root.Values }}
{{- $components := list "worker" }}
{{- if .setup }}
  {{- $components = list }}
  {{- if $values.setup.topics }}{{ $components = append $components "topics" }}{{ end }}
  {{- if and $values.setup.auditMigrate $values.audit.enabled }}{{ $components = append $components "audit-migrate" }}{{ end }}
{{- else }}
  {{- if $values.api.enabled }}{{ $components = append $components "api" }}{{ end }}
  {{- if $values.audit.enabled }}{{ $components = append $components "audit" }}{{ end }}
{{- end }}
{{- $root := .root }}
{{- $keys := list }}
{{- range $components }}
  {{- $keys = concat $keys (get (include "fraudstream.secretKeys" (dict "root" $root "component" .) | fromJson) "keys") }}
{{- end }}
{{- if and (not .setup) (eq $values.auth.mode "keys") }}
  {{- $keys = append $keys "api-key-hashes" }}
{{- end }}
{{- dict "keys" ($keys | uniq) | toJson }}
{{- end }}

{{/* dict root, component */}}
{{- define "fraudstream.secretName" -}}
{{- $secrets := .root.Values.secrets }}
{{- $setup := has .component (list "topics" "audit-migrate") }}
{{- if eq $secrets.source "existing" }}
  {{- $setup | ternary (default $secrets.existing.name $secrets.existing.setupName) $secrets.existing.name }}
{{- else }}
  {{- include "fraudstream.fullname" .root }}-{{ $setup | ternary "setup" "secrets" }}
{{- end }}
{{- end }}

{{/* stringData of the keys, from values: dict root, keys */}}
{{- define "fraudstream.secretData" -}}
{{- $root := .root }}
{{- range .keys }}
{{ . }}: {{ required (printf "secrets.values.%s: expected a value with secrets.source \"values\", got none" .) (get $root.Values.secrets.values .) | quote }}
{{- end }}
{{- end }}

{{/* Changes when a secret from values does that this component reads at its start; hashes of API keys are read again by
     themselves. dict root, component */}}
{{- define "fraudstream.secretChecksum" -}}
{{- if eq .root.Values.secrets.source "values" }}
checksum/secrets: {{ include "fraudstream.secretData" (dict "root" .root "keys" (get (include "fraudstream.secretKeys" . | fromJson) "keys")) | sha256sum }}
{{- end }}
{{- end }}

{{- define "fraudstream.externalSecretApi" -}}
{{- if .Capabilities.APIVersions.Has "external-secrets.io/v1/ExternalSecret" -}}
external-secrets.io/v1
{{- else if .Capabilities.APIVersions.Has "external-secrets.io/v1beta1/ExternalSecret" -}}
external-secrets.io/v1beta1
{{- end }}
{{- end }}

{{/* spec of an ExternalSecret: dict root, name, remoteKey, keys */}}
{{- define "fraudstream.externalSecretSpec" -}}
{{- $external := .root.Values.secrets.external }}
{{- $remoteKey := .remoteKey }}
refreshInterval: {{ $external.refreshInterval }}
secretStoreRef:
  {{- toYaml $external.storeRef | nindent 2 }}
target:
  name: {{ .name }}
data:
  {{- range .keys }}
  - secretKey: {{ . }}
    remoteRef:
      key: {{ $remoteKey }}
      property: {{ . }}
  {{- end }}
{{- end }}
