{{/* What pods have in common. */}}

{{/* The head of a pod's spec: dict root, component, workload (its values) */}}
{{- define "fraudstream.podHead" -}}
serviceAccountName: {{ include "fraudstream.fullname" .root }}-{{ .component }}
# No workload asks the Kubernetes API: no token, and no Role anywhere in this chart.
automountServiceAccountToken: false
# A Service called kafka or redis would otherwise put variables of its own among the settings.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ int64 .root.Values.podSecurity.runAsUser }}
  runAsGroup: {{ int64 .root.Values.podSecurity.runAsGroup }}
  fsGroup: {{ int64 .root.Values.podSecurity.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .workload.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .workload.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .workload.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .workload.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .workload.topologySpread }}
topologySpreadConstraints:
  {{- $selector := include "fraudstream.selector" . }}
  {{- range .workload.topologySpread }}
  - maxSkew: 1
    topologyKey: {{ .topologyKey }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The head of a container: dict root, canary */}}
{{- define "fraudstream.containerHead" -}}
image: {{ include "fraudstream.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Alive: a process that recovers is, one that has work and does none is not; only that is mended by a restart.
     Ready: it has partitions and profiles, and judges. dict workload */}}
{{- define "fraudstream.probes" -}}
startupProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add (int .workload.startupSeconds) 4) 5 }}
livenessProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /health/ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{/* Labels and annotations of a pod: dict root, component, workload, labels */}}
{{- define "fraudstream.podMetadata" -}}
labels:
  {{- include "fraudstream.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .workload.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- with include "fraudstream.secretChecksum" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .workload.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What checkov would like otherwise, and why it is so. */}}
{{- define "fraudstream.checkovSkips" -}}
checkov.io/skip1: CKV_K8S_15=tags are never moved to another image, so nodes may keep what they have
checkov.io/skip2: CKV_K8S_43=image.digest pins the image where it is set; a default could name no digest
{{- end }}
