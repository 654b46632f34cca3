"""Active learning for object detection and image classification."""
