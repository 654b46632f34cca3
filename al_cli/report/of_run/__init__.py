"""One run looked at alone: its plots, its predictions, its table for a terminal. Knows no study."""
