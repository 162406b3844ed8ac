"""What a notebook works with: campaigns, results, single crystals; names are in ``screen``."""
