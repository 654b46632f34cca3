"""What a label is and how good a prediction is: a file a task."""
