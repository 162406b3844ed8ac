"""The user's side: commands, sources, store, ranking."""
