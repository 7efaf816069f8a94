{{- define "landtide.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "landtide.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: landtide
{{- end -}}

{{/* Labels by which a workload finds its pods. Arguments: root, component. */}}
{{- define "landtide.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Reference of an image. Arguments: root, name, digest. */}}
{{- define "landtide.image" -}}
{{- $image := .root.Values.image -}}
{{- with $image.registry -}}{{ trimSuffix "/" . }}/{{- end -}}
{{- .name -}}
{{- if .digest -}}@{{ .digest }}{{- else -}}:{{ $image.tag | default .root.Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- define "landtide.stepsImage" -}}
{{- include "landtide.image" (dict "root" . "name" "landtide-steps" "digest" .Values.image.stepsDigest) -}}
{{- end -}}

{{- define "landtide.trainImage" -}}
{{- include "landtide.image" (dict "root" . "name" "landtide-train" "digest" .Values.image.trainDigest) -}}
{{- end -}}

{{- define "landtide.runNamespace" -}}
{{- .Values.pipelines.runNamespace | default .Release.Namespace -}}
{{- end -}}

{{- define "landtide.jobsNamespace" -}}
{{- .Values.jobs.namespace | default (include "landtide.runNamespace" .) -}}
{{- end -}}

{{/* Every namespace that pods of landtide run in, separated by spaces. */}}
{{- define "landtide.namespaces" -}}
{{- list .Release.Namespace (include "landtide.runNamespace" .) (include "landtide.jobsNamespace" .) | uniq | join " " -}}
{{- end -}}

{{- define "landtide.api" -}}
{{- .Values.pipelines.api | default (printf "http://ml-pipeline.%s.svc:8888" .Values.pipelines.namespace) -}}
{{- end -}}

{{- define "landtide.endpoint" -}}
{{- if .Values.objectStore.embedded.enabled -}}
{{- printf "http://%s-store.%s.svc:9000" (include "landtide.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.objectStore.endpoint -}}
{{- end -}}
{{- end -}}

{{- define "landtide.bucket" -}}
{{- index (splitList "/" (trimPrefix "s3://" .Values.objectStore.workspace)) 0 -}}
{{- end -}}

{{/* Where the viewer reads; empty = nothing to show, and no viewer. */}}
{{- define "landtide.published" -}}
{{- if .Values.viewer.enabled -}}
{{- if .Values.viewer.published -}}
{{- .Values.viewer.published -}}
{{- else if .Values.study.name -}}
{{- printf "%s/%s/published" (trimSuffix "/" (.Values.study.workspace | default .Values.objectStore.workspace)) .Values.study.name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The study with the keys that belong to this cluster, where it leaves them open. */}}
{{- define "landtide.study" -}}
{{- $kubernetes := dict
  "namespace" (include "landtide.runNamespace" .)
  "service_account" .Values.runner.serviceAccount.name
  "object_store" .Values.objectStore.secret.name
  "settings" .Values.settings.name
  "runtime" .Values.jobs.runtime.name
  "kubeflow" .Values.pipelines.namespace
  "api" (include "landtide.api" .)
-}}
{{- if ne (include "landtide.jobsNamespace" .) (include "landtide.runNamespace" .) -}}
{{- $_ := set $kubernetes "jobs_namespace" (include "landtide.jobsNamespace" .) -}}
{{- end -}}
{{- with .Values.image.pullSecret -}}{{- $_ := set $kubernetes "pull_secret" . -}}{{- end -}}
{{- $defaults := dict
  "workspace" .Values.objectStore.workspace
  "runner" "kubernetes"
  "kubernetes" $kubernetes
  "hpc" (dict "bridge" .Values.hpc.bridge)
-}}
{{- mergeOverwrite $defaults (deepCopy .Values.study) | toYaml -}}
{{- end -}}

{{/* The restricted Pod Security Standard, for a pod and for a container. */}}
{{- define "landtide.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "landtide.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What pods share that are no steps: where they run and how they get their image. */}}
{{- define "landtide.placement" -}}
{{- with .Values.image.pullSecret }}
imagePullSecrets:
  - name: {{ . }}
{{- end }}
{{- with .Values.placement.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.placement.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.placement.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* How a container finds the object store. */}}
{{- define "landtide.storeEnvironment" -}}
- configMapRef:
    name: {{ .Values.settings.name }}
{{- if eq .Values.objectStore.auth "secret" }}
- secretRef:
    name: {{ .Values.objectStore.secret.name }}
{{- end }}
{{- end -}}

{{/* Refuse what cannot work, before anything is made. */}}
{{- define "landtide.check" -}}
{{- if and (eq .Values.hpc.bridge "slurm-bridge") (eq (include "landtide.jobsNamespace" .) (include "landtide.runNamespace" .)) -}}
{{- fail "hpc.bridge: slurm-bridge takes over every pod of a namespace, those of the pipeline too: give the jobs one of their own by jobs.namespace, such as landtide-hpc" -}}
{{- end -}}
{{- if and .Values.jobs.createNamespace (not .Values.jobs.namespace) -}}
{{- fail "jobs.createNamespace needs jobs.namespace: which namespace shall be made?" -}}
{{- end -}}
{{- if and .Values.schedule.enabled (not .Values.study) -}}
{{- fail "schedule.enabled needs study: a values file with `study:` and the keys of the study file below it" -}}
{{- end -}}
{{- if and .Values.study (not .Values.study.name) -}}
{{- fail "study.name is missing: it names the recurring run and the folder of the maps" -}}
{{- end -}}
{{- if and .Values.objectStore.embedded.enabled .Values.objectStore.endpoint -}}
{{- fail "objectStore: give endpoint (a store of your own) or embedded.enabled (a store for trials), not both" -}}
{{- end -}}
{{- if and .Values.objectStore.embedded.enabled (ne .Values.objectStore.auth "secret") -}}
{{- fail "objectStore.embedded knows no roles: set objectStore.auth to secret" -}}
{{- end -}}
{{- if and .Values.objectStore.secret.create (ne .Values.objectStore.auth "secret") -}}
{{- fail "objectStore.secret.create makes keys that auth: role does not use: choose one" -}}
{{- end -}}
{{- if and .Values.objectStore.secret.create (not .Values.objectStore.embedded.enabled) (not (and .Values.objectStore.secret.accessKeyId .Values.objectStore.secret.secretAccessKey)) -}}
{{- fail "objectStore.secret.create needs accessKeyId and secretAccessKey; without create the Secret must be there already" -}}
{{- end -}}
{{- if and .Values.viewer.ingress.enabled (not .Values.viewer.ingress.host) -}}
{{- fail "viewer.ingress.enabled needs viewer.ingress.host: the name that browsers ask for" -}}
{{- end -}}
{{- end -}}
