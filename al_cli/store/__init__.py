"""Nothing is computed twice: results on disk, found by everything that determines them."""
