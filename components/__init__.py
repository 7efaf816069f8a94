"""The steps as Kubeflow components: a typed signature, an image, and a body that calls `landtide.steps`."""
