"""Numbers that answer whether A beats B, and the sentences that say them. Draws nothing and reads no run folder."""
