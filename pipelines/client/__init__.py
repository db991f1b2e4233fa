"""The client of a Kubeflow Pipelines server: upload, run, schedule, follow."""
