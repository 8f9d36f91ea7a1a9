{{/* Names and labels. */}}

{{- define "fraudstream.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) -}}
{{- /* Pods and revisions append up to 23 characters, and a label holds 63. */ -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "fraudstream.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Of objects and pods; without the version, which volumeClaimTemplates could not follow. */}}
{{- define "fraudstream.labels" -}}
app: anomaly-detector
{{ include "fraudstream.selector" . }}
app.kubernetes.io/part-of: fraudstream
{{- end }}

{{/* What stands at the top of every object: dict root, component, suffix (of the name, may be empty), labels, annotations. */}}
{{- define "fraudstream.metadata" -}}
name: {{ include "fraudstream.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "fraudstream.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ default .root.Chart.AppVersion .root.Values.image.tag | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* dict root, canary (whether this workload runs the canary's image) */}}
{{- define "fraudstream.image" -}}
{{- $image := .root.Values.image -}}
{{- $chosen := .canary | ternary .root.Values.canary $image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $chosen.digest }}@{{ $chosen.digest }}{{ else }}:{{ default .root.Chart.AppVersion $chosen.tag }}{{ end }}
{{- end }}

{{/* Numbers of values are floats: 3024000 would be written as 3.024e+06. */}}
{{- define "fraudstream.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Annotations of what hooks need beside their job, made before it and gone after it. dict weight */}}
{{- define "fraudstream.hookAnnotations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ .policy | default "before-hook-creation,hook-succeeded" }}
{{- end }}

{{/* Whether an object of an operator is wanted: dict root, mode (auto, always, never), api */}}
{{- define "fraudstream.wanted" -}}
{{- if or (eq .mode "always") (and (eq .mode "auto") (.root.Capabilities.APIVersions.Has .api)) }}true{{ end }}
{{- end }}

{{- define "fraudstream.scaledByKeda" -}}
{{- if and (eq .Values.worker.autoscaling.by "lag") (.Capabilities.APIVersions.Has "keda.sh/v1alpha1") }}true{{ end }}
{{- end }}

{{- define "fraudstream.scaledByHpa" -}}
{{- if eq .Values.worker.autoscaling.by "cpu" }}true{{ end }}
{{- end }}

{{/* How many workers there are at least. */}}
{{- define "fraudstream.leastWorkers" -}}
{{- $worker := .Values.worker -}}
{{- eq $worker.autoscaling.by "none" | ternary $worker.replicas $worker.autoscaling.minReplicas -}}
{{- end }}
