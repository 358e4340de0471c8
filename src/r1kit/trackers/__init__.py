"""Send what a run logs to TensorBoard, Weights & Biases, MLflow or Trackio: one module for each, named after it."""
