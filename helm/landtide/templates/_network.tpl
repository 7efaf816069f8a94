{{/* Pods of runs, in whatever namespace of landtide's: a step follows the Dask scheduler and workers that it started. */}}
{{- define "landtide.peers" -}}
- namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ list (include "landtide.runNamespace" .) (include "landtide.jobsNamespace" .) | uniq | toJson }}
  podSelector:
    matchLabels:
      app.kubernetes.io/part-of: landtide
{{- end -}}

{{- define "landtide.egressDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* KFP: API (8888 HTTP, 8887 gRPC), metadata (8080), artifact store (9000; 8333 behind it). */}}
{{- define "landtide.egressPipelines" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.pipelines.namespace }}
  ports:
    - port: 8888
    - port: 8887
    - port: 8080
    - port: 9000
    - port: 8333
{{- end -}}

{{/* The object store, where its port is none of those that are open to the outside. */}}
{{- define "landtide.egressStore" -}}
{{- $endpoint := include "landtide.endpoint" . -}}
{{- if .Values.objectStore.embedded.enabled -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Release.Namespace }}
      podSelector:
        matchLabels:
          {{- include "landtide.selector" (dict "root" . "component" "store") | nindent 10 }}
  ports:
    - port: 9000
{{- else if $endpoint -}}
{{- $url := urlParse $endpoint -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
- ports:
    - port: {{ $port }}
{{- end -}}
{{- end -}}

{{- define "landtide.egressOutside" -}}
- to:
    {{- range .Values.networkPolicy.egressCidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.egressPorts }}
    - port: {{ . }}
    {{- end }}
{{- end -}}
