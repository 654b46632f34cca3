"""Active learning for object detection."""
