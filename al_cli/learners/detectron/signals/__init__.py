"""What one inference pass tells of an image besides its boxes."""
