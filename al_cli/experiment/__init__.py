"""One run, from words to a finished folder."""
