{{/* A Job that tells KFP about the recurring run. Arguments: root, name, hooks, deletePolicy, command. */}}
{{- define "landtide.scheduleJob" -}}
{{- $root := .root -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "landtide.fullname" $root }}-{{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "landtide.labels" $root | nindent 4 }}
    app.kubernetes.io/component: schedule
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-delete-policy: {{ .deletePolicy }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 900
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "landtide.labels" $root | nindent 8 }}
        app.kubernetes.io/component: schedule
    spec:
      restartPolicy: Never
      serviceAccountName: {{ $root.Values.schedule.serviceAccount.name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        {{- include "landtide.podSecurity" $root | nindent 8 }}
      {{- include "landtide.placement" $root | nindent 6 }}
      containers:
        - name: {{ .name }}
          # What it checks of a study needs the model's own module, and that torch
          image: {{ include "landtide.trainImage" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{ toJson .command }}
          envFrom:
            {{- include "landtide.storeEnvironment" $root | nindent 12 }}
          env:
            # Where KFP's own client looks for the token of a pod
            - name: KF_PIPELINES_SA_TOKEN_PATH
              value: /var/run/secrets/kubeflow/pipelines/token
          resources:
            {{- toYaml $root.Values.schedule.resources | nindent 12 }}
          securityContext:
            {{- include "landtide.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - name: study
              mountPath: /study
              readOnly: true
            - name: tmp
              mountPath: /tmp
            - name: token
              mountPath: /var/run/secrets/kubeflow/pipelines
              readOnly: true
      volumes:
        - name: study
          configMap:
            name: {{ include "landtide.fullname" $root }}-study
        - name: tmp
          emptyDir: {}
        - name: token
          projected:
            sources:
              - serviceAccountToken:
                  path: token
                  audience: {{ $root.Values.pipelines.audience }}
                  expirationSeconds: 3600
{{- end -}}
