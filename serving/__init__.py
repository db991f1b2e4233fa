"""What serves: the predictor inside the pod, and the platform as the pipeline sees it."""
