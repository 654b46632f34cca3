"""From records on disk to what a person looks at: tables, plots, sheets of images. Reads runs, never changes them."""
