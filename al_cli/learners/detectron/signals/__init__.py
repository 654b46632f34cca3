"""What one inference pass gives for an image besides its boxes."""
