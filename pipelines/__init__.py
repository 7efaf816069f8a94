"""What runs after what: landtide's pipelines, thin over `components`."""
