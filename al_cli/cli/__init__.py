"""The words of a user: one verb a file; `main` only dispatches."""
