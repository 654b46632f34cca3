"""The parts of the page, one a file: what each says, as tables, figures and paragraphs."""
