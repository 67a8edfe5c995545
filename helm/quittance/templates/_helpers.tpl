{{- define "quittance.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 48 | trimSuffix "-" -}}
{{- end }}

{{- define "quittance.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "quittance.labels" -}}
{{ include "quittance.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "quittance.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "quittance.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "quittance.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* Every deployment by name, whole: its own entry over the defaults. */}}
{{- define "quittance.deployments" -}}
{{- $all := dict "all" (dict "roles" (list "api" "lane" "watcher" "worker")) -}}
{{- range $name, $own := .Values.deployments | default $all }}
{{ $name }}:
  {{- mergeOverwrite (deepCopy $.Values.defaults) $own | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a schema cannot say about values. */}}
{{- define "quittance.validate" -}}
{{- $roles := list -}}
{{- range $name, $deployment := include "quittance.deployments" . | fromYaml -}}
{{- $roles = concat $roles $deployment.roles -}}
{{- if and $deployment.autoscaling (not (has "api" $deployment.roles)) -}}
{{- fail (printf "deployments.%s.autoscaling: only the API does more with more replicas; lanes, watchers and the worker have one owner each" $name) -}}
{{- end -}}
{{- end -}}
{{- range list "api" "lane" "watcher" "worker" -}}
{{- if not (has . $roles) -}}
{{- fail (printf "deployments: the role %s is needed somewhere" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.grpc.enabled (eq (int .Values.grpc.port) (int .Values.service.port)) -}}
{{- fail "grpc.port: service.port is the port of HTTP" -}}
{{- end -}}
{{- if regexMatch "(?m)^[^#\n]*\\b(key|keys|token|secret_access_key|session_token)\\s*=" .Values.config -}}
{{- fail "config: keys and tokens belong in a Secret; name it under secretFiles, and its file by key_file, token_file and so on" -}}
{{- end -}}
{{- if regexMatch "(?m)^[^#\n]*://[^/\\s\"]*:[^/\\s\"]*@" .Values.config -}}
{{- fail "config: a URL with a password belongs in a Secret; name it under secretFiles, and its file by rpc_file or ws_file" -}}
{{- end -}}
{{- end }}

{{/* What the pods of the service and of its jobs share. Takes the context, the name of the config map, and the roles that they have. */}}
{{- define "quittance.pod" -}}
automountServiceAccountToken: false
# Kubernetes would add variables for every service of the namespace, and ours are settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Secrets are readable for this group.
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: config
    configMap:
      name: {{ .configMap }}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- $roles := .roles }}
        {{- range $file, $from := .context.Values.secretFiles }}
        {{- $wanted := not $from.roles }}
        {{- range $from.roles }}
        {{- $wanted = or $wanted (has . $roles) }}
        {{- end }}
        {{- if $wanted }}
        - secret:
            name: {{ $from.secret }}
            items:
              - key: {{ $from.key }}
                path: {{ $file }}
        {{- end }}
        {{- end }}
{{- with .context.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A container of the service. What differs (name, args, ports, probes) stands beside it. */}}
{{- define "quittance.container" -}}
image: {{ include "quittance.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: QUITTANCE_SERVER__LISTEN
    value: 0.0.0.0:4020
  - name: QUITTANCE_SERVER__OPERATIONS_LISTEN
    value: 0.0.0.0:9464
  - name: QUITTANCE_SERVER__GRPC_LISTEN
    value: {{ ternary "0.0.0.0:4021" "none" .Values.grpc.enabled }}
  - name: QUITTANCE_SERVER__PUBLIC_URL
    value: {{ .Values.publicUrl | quote }}
  - name: QUITTANCE_SERVER__SHUTDOWN_WITHIN_SECONDS
    value: {{ .Values.shutdownWithinSeconds | quote }}
  - name: QUITTANCE_DATABASE__URL_FILE
    value: /run/secrets/quittance/database-url
  {{- if hasKey .Values.secretFiles "receipt-keys" }}
  - name: QUITTANCE_RECEIPTS__KEYS_FILE
    value: /run/secrets/quittance/receipt-keys
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: config
    mountPath: /etc/quittance
    readOnly: true
  - name: secrets
    mountPath: /run/secrets/quittance
    readOnly: true
{{- end }}
